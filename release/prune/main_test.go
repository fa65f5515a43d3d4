package main

import (
	"bytes"
	"strings"
	"testing"
)

const bom = `{
  "metadata": {"component": {"bom-ref": "path+file:///src#ukgpro-operator@1.0.0", "name": "ukgpro-operator", "version": "1.0.0",
    "components": [{"name": "ukgpro_operator"}, {"name": "ukgpro-operator"}, {"name": "ukgpro-simulator"}]}},
  "components": [
    {"bom-ref": "r#serde@1.0.0", "name": "serde", "version": "1.0.0"},
    {"bom-ref": "path+file:///src/crates/ukg-pro#1.0.0", "name": "ukg-pro", "version": "1.0.0"},
    {"bom-ref": "r#ring@0.17.0", "name": "ring", "version": "0.17.0"}
  ],
  "dependencies": [
    {"ref": "path+file:///src#ukgpro-operator@1.0.0", "dependsOn": ["r#serde@1.0.0", "r#ring@0.17.0"]},
    {"ref": "r#serde@1.0.0"},
    {"ref": "r#ring@0.17.0"}
  ]
}`

func TestWhatIsNotLinkedGoesWithItsDependenciesAndThePath(t *testing.T) {
	var pruned bytes.Buffer
	if err := prune(strings.NewReader(bom), &pruned, "/src", []string{"serde@1.0.0", "ukg-pro@1.0.0", "ukgpro-operator@1.0.0"}); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"ring", "simulator", "/src"} {
		if strings.Contains(pruned.String(), gone) {
			t.Errorf("%s is in %s", gone, pruned.String())
		}
	}
	if got := strings.Count(pruned.String(), `"r#serde@1.0.0"`); got != 3 {
		t.Errorf("serde is named %d times, as a component, as a dependency and with its own", got)
	}
}

func TestACrateThatIsLinkedAndNotListedIsAnError(t *testing.T) {
	err := prune(strings.NewReader(bom), &bytes.Buffer{}, "/src", []string{"serde@1.0.1"})
	if err == nil || !strings.Contains(err.Error(), "serde@1.0.1") {
		t.Error(err)
	}
}
