package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSweepTakesDesertedDirectoriesOnly(t *testing.T) {
	parent := t.TempDir()
	owned, remove, err := temporaryDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	deserted := filepath.Join(parent, stateName+"deserted")
	foreign := filepath.Join(parent, "somebody-else")
	for _, dir := range []string{deserted, foreign} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}

	sweep(parent)
	for dir, kept := range map[string]bool{owned: true, foreign: true, deserted: false} {
		if exists(dir) != kept {
			t.Errorf("%s: kept should be %t", dir, kept)
		}
	}

	remove()
	if exists(owned) {
		t.Error("the owner's own removal left it")
	}
}

func TestANamedDirectoryIsKept(t *testing.T) {
	named := filepath.Join(t.TempDir(), "new")
	dir, remove, err := stateDir(named)
	if err != nil {
		t.Fatal(err)
	}

	remove()
	if dir != named || !exists(named) {
		t.Errorf("%s was removed, or is not %s", dir, named)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
