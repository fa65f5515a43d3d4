// Command prune takes out of a bill of materials what is not linked: it reads CycloneDX JSON from standard input, keeps
// the crates that its arguments name as NAME@VERSION, and the program itself, and writes the rest to standard output.
//
// cargo-cyclonedx reads `cargo metadata`, which resolves optional dependencies of dependencies that no feature turns on;
// `cargo tree` does not, and it is right. A crate that is to be kept and is not there is an error.
//
// Its first argument is the directory of the source, whose path is taken out of the references.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

const program = "ukgpro-operator"

func main() {
	if err := prune(os.Stdin, os.Stdout, os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "prune:", err)
		os.Exit(1)
	}
}

func prune(from io.Reader, to io.Writer, source string, crates []string) error {
	content, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	content = bytes.ReplaceAll(content, []byte("path+file://"+source+"#"), nil)
	// Other crates of the workspace.
	content = bytes.ReplaceAll(content, []byte("path+file://"+source+"/"), nil)
	var bom map[string]any
	if err := json.Unmarshal(content, &bom); err != nil {
		return err
	}
	missing := map[string]bool{}
	for _, crate := range crates {
		missing[crate] = !strings.HasPrefix(crate, program+"@")
	}

	// What is kept, by the name that dependencies have for it.
	kept := map[any]bool{}
	components := filter(list(bom["components"]), func(c map[string]any) bool {
		crate := fmt.Sprint(c["name"], "@", c["version"])
		_, linked := missing[crate]
		missing[crate] = false
		if linked {
			kept[c["bom-ref"]] = true
		}
		return linked
	})
	bom["components"] = components
	for crate, is := range missing {
		if is {
			return fmt.Errorf("%s is linked and not listed", crate)
		}
	}

	subject := object(object(bom["metadata"])["component"])
	kept[subject["bom-ref"]] = true
	subject["components"] = filter(list(subject["components"]), func(c map[string]any) bool {
		return c["name"] == program || c["name"] == strings.ReplaceAll(program, "-", "_")
	})
	bom["dependencies"] = filter(list(bom["dependencies"]), func(d map[string]any) bool {
		on := []any{}
		for _, ref := range list(d["dependsOn"]) {
			if kept[ref] {
				on = append(on, ref)
			}
		}
		if d["dependsOn"] != nil {
			d["dependsOn"] = on
		}
		return kept[d["ref"]]
	})
	encoder := json.NewEncoder(to)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(bom)
}

func filter(all []any, keep func(map[string]any) bool) []any {
	some := []any{}
	for _, one := range all {
		if keep(object(one)) {
			some = append(some, one)
		}
	}
	return some
}

func list(value any) []any {
	all, _ := value.([]any)
	return all
}

func object(value any) map[string]any {
	fields, _ := value.(map[string]any)
	return fields
}
