package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	stateName = "controlplane-state-"
	// What the directory is called until it is locked.
	unlockedName = "controlplane-unlocked-"
)

// stateDir makes the directory for keys, data and logs, and the function that removes it.
//
// A directory the caller names is theirs: it must be empty, and stays. Otherwise it is a temporary one, locked
// for as long as this process lives. The lock goes even with a process that is killed and cannot clean up, so
// whoever comes next sees which directories nobody owns any more, and removes them.
func stateDir(named string) (dir string, remove func(), err error) {
	if named != "" {
		dir, err = namedDir(named)
		return dir, func() {}, err
	}
	sweep(os.TempDir())
	return temporaryDir(os.TempDir())
}

func namedDir(named string) (string, error) {
	dir, err := filepath.Abs(named)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s is not empty: name another directory, or none", dir)
	}
	return dir, err
}

func temporaryDir(parent string) (string, func(), error) {
	unlocked, err := os.MkdirTemp(parent, unlockedName)
	if err != nil {
		return "", nil, err
	}
	lock, err := lockDir(unlocked)
	// It gets the name that sweep looks for once it is locked: before, sweep could take it for a deserted one.
	dir := filepath.Join(parent, stateName+strings.TrimPrefix(filepath.Base(unlocked), unlockedName))
	if err == nil {
		err = os.Rename(unlocked, dir)
	}
	if err != nil {
		_ = os.Remove(unlocked)
		return "", nil, err
	}
	return dir, func() {
		_ = os.RemoveAll(dir)
		_ = lock.Close()
	}, nil
}

// sweep removes what supervisors that were killed have left in parent.
func sweep(parent string) {
	left, _ := filepath.Glob(filepath.Join(parent, stateName+"*"))
	for _, dir := range left {
		if lock, err := lockDir(dir); err == nil {
			_ = os.RemoveAll(dir)
			_ = lock.Close()
		}
	}
}

// lockDir fails if another process holds the directory. Closing the file gives it up.
func lockDir(dir string) (*os.File, error) {
	file, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}
