package gitops

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	luajson "layeh.com/gopher-json"
	"sigs.k8s.io/yaml"
)

const requestedAt = "reconcile.fluxcd.io/requestedAt"

// customization is what examples/gitops/argocd/argocd-cm.yaml says of connections.
type customization struct {
	health  string
	ofApps  string
	Actions struct {
		Discovery   string `json:"discovery.lua"`
		Definitions []struct {
			Name   string `json:"name"`
			Action string `json:"action.lua"`
		} `json:"definitions"`
	}
}

func read(t *testing.T) customization {
	t.Helper()
	configMap := struct{ Data map[string]string }{}
	if err := yaml.Unmarshal(document(t, "../../examples/gitops/argocd/argocd-cm.yaml", "ConfigMap"), &configMap); err != nil {
		t.Fatal(err)
	}
	const prefix, kind = "resource.customizations.", ".ukgpro.dev_UkgProConnection"
	found := customization{
		health: configMap.Data[prefix+"health"+kind],
		ofApps: configMap.Data[prefix+"health.argoproj.io_Application"],
	}
	if err := yaml.UnmarshalStrict([]byte(configMap.Data[prefix+"actions"+kind]), &found.Actions); err != nil {
		t.Fatal(err)
	}
	return found
}

// run evaluates a script as Argo CD does one from its ConfigMap: with the libraries base, package and table, and with an os library that
// tells the time and nothing else; no string library, no files, and a second of time.
func run(t *testing.T, script string, connection *unstructured.Unstructured, into any) {
	t.Helper()
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable,
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			t.Fatal(err)
		}
	}
	state.PreloadModule(lua.OsLibName, safeOs)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(ctx)
	text, err := json.Marshal(connection)
	if err != nil {
		t.Fatal(err)
	}
	object, err := luajson.Decode(state, text)
	if err != nil {
		t.Fatal(err)
	}
	state.SetGlobal("obj", object)
	if err := state.DoString(script); err != nil {
		t.Fatal(err)
	}
	returned, err := luajson.Encode(state.Get(-1))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(returned, into); err != nil {
		t.Fatalf("%s: %v", returned, err)
	}
}

// safeOs is the os library without what touches the machine.
func safeOs(state *lua.LState) int {
	whole := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer whole.Close()
	if err := whole.CallByParam(lua.P{Fn: whole.NewFunction(lua.OpenOs), Protect: true}, lua.LString(lua.OsLibName)); err != nil {
		state.RaiseError("%v", err)
	}
	os := whole.GetGlobal(lua.OsLibName).(*lua.LTable)
	safe := state.NewTable()
	for _, name := range []string{"time", "date"} {
		safe.RawSetString(name, state.NewFunction(os.RawGetString(name).(*lua.LFunction).GFunction))
	}
	state.Push(safe)
	return 1
}

type argoHealth struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func TestArgoHealth(t *testing.T) {
	script := read(t).health
	for _, state := range states {
		t.Run(state.sentence, func(t *testing.T) {
			connection := stored(t, state.file)
			found := argoHealth{}
			run(t, script, connection, &found)
			// With a verdict of its own, it says what the connection says.
			message := condition(connection, "Ready", "message")
			switch state.file {
			case "ActiveThenSuspended":
				message = "Checks are suspended; the last verdict was Active."
			case "UnauthorizedThenSuspended":
				message = "Checks are suspended; the last verdict was Unauthorized."
			case "Suspended":
				message = "Checks are suspended; the last verdict was Unknown."
			case "ActiveThenEdited", "UnauthorizedThenEdited":
				message = "Waiting for a check of what was changed"
			}
			if want := (argoHealth{state.health.argo, message}); found != want {
				t.Errorf("it is\n%v, not\n%v", found, want)
			}
		})
	}
}

func TestArgoHealthOfAnObjectWithoutStatusIsProgressing(t *testing.T) {
	connection := stored(t, "Probing")
	unstructured.RemoveNestedField(connection.Object, "status")
	found := argoHealth{}
	run(t, read(t).health, connection, &found)
	if want := (argoHealth{"Progressing", "Waiting for the first check"}); found != want {
		t.Errorf("it is %v", found)
	}
}

func TestAnAppOfAppsIsAsHealthyAsItsApps(t *testing.T) {
	script := read(t).ofApps
	for status, want := range map[string]argoHealth{
		`{}`: {"Progressing", ""},
		`{"health": {"status": "Degraded", "message": "refused"}}`: {"Degraded", "refused"},
		`{"health": {"status": "Healthy"}}`:                        {"Healthy", ""},
	} {
		app := &unstructured.Unstructured{}
		text := `{"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "status": ` + status + `}`
		if err := app.UnmarshalJSON([]byte(text)); err != nil {
			t.Fatal(err)
		}
		found := argoHealth{}
		if run(t, script, app, &found); found != want {
			t.Errorf("of %s it is %v", status, found)
		}
	}
	found := argoHealth{}
	run(t, script, &unstructured.Unstructured{Object: map[string]any{"kind": "Application"}}, &found)
	if want := (argoHealth{"Progressing", ""}); found != want {
		t.Errorf("without a status it is %v", found)
	}
}

func TestArgoHealthWaitsForACheckThatWasAskedFor(t *testing.T) {
	script := read(t).health
	for _, file := range []string{"AllPermissionsGranted", "CredentialsRejected", "ServerError"} {
		connection := stored(t, file)
		connection.SetAnnotations(map[string]string{requestedAt: "2026-01-01T00:00:00Z"})
		found := argoHealth{}
		run(t, script, connection, &found)
		if want := (argoHealth{"Progressing", "Waiting for the check that was asked for"}); found != want {
			t.Errorf("%s: before the check it is %v", file, found)
		}
		if err := unstructured.SetNestedField(connection.Object, "2026-01-01T00:00:00Z", "status", "lastHandledReconcileAt"); err != nil {
			t.Fatal(err)
		}
		run(t, script, connection, &found)
		if found.Message != condition(connection, "Ready", "message") {
			t.Errorf("%s: after the check it is %v", file, found)
		}
	}
}

func TestArgoActions(t *testing.T) {
	customization := read(t)
	for _, state := range states {
		t.Run(state.file, func(t *testing.T) {
			connection := stored(t, state.file)
			isSuspended, _, _ := unstructured.NestedBool(connection.Object, "spec", "suspend")
			offered := map[string]struct{ Disabled bool }{}
			run(t, customization.Actions.Discovery, connection, &offered)
			want := map[string]struct{ Disabled bool }{
				"check-now": {isSuspended}, "suspend": {isSuspended}, "resume": {!isSuspended},
			}
			if !maps.Equal(offered, want) {
				t.Errorf("offered are %v", offered)
			}
			defined := []string{}
			for _, action := range customization.Actions.Definitions {
				defined = append(defined, action.Name)
				if offered[action.Name].Disabled {
					continue
				}
				patch := patchOf(t, action.Action, connection)
				switch action.Name {
				case "suspend", "resume":
					if want := map[string]any{"spec": map[string]any{"suspend": action.Name == "suspend"}}; !equal(patch, want) {
						t.Errorf("%s is the patch %v", action.Name, patch)
					}
				case "check-now":
					request := onlyRequest(patch)
					if at, err := time.Parse("By Argo CD at: 2006-01-02T15:04:05Z", request); err != nil || time.Since(at) > time.Minute {
						t.Errorf("check-now is the patch %v", patch)
					}
				}
			}
			slices.Sort(defined)
			if !slices.Equal(defined, slices.Sorted(maps.Keys(offered))) {
				t.Errorf("defined are %v", defined)
			}
		})
	}
}

// patchOf gives what Argo CD sends for an action: the merge patch from the live object to the one the script returns.
func patchOf(t *testing.T, script string, connection *unstructured.Unstructured) map[string]any {
	t.Helper()
	changed := map[string]any{}
	run(t, script, connection, &changed)
	before, err := json.Marshal(connection)
	if err != nil {
		t.Fatal(err)
	}
	after, err := json.Marshal(changed)
	if err != nil {
		t.Fatal(err)
	}
	merge, err := jsonpatch.CreateMergePatch(before, after)
	if err != nil {
		t.Fatal(err)
	}
	patch := map[string]any{}
	if err := json.Unmarshal(merge, &patch); err != nil {
		t.Fatal(err)
	}
	return patch
}

// onlyRequest gives the request for a check in a patch that holds nothing else.
func onlyRequest(patch map[string]any) string {
	metadata, _ := patch["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	request, _ := annotations[requestedAt].(string)
	if len(patch) != 1 || len(metadata) != 1 || len(annotations) != 1 {
		return ""
	}
	return request
}

func equal(a, b any) bool {
	left, _ := json.Marshal(a)
	right, _ := json.Marshal(b)
	return string(left) == string(right)
}
