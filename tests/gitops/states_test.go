// Package gitops holds what GitOps tools make of a connection in every state, on the objects of ../states, which the end-to-end tests
// take from a real API server.
package gitops

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// health is what a tool is to say: in the words of kstatus and of Argo CD.
type health struct{ kstatus, argo string }

var (
	ready     = health{"Current", "Healthy"}
	retried   = health{"InProgress", "Progressing"}
	stalled   = health{"Failed", "Degraded"}
	suspended = health{"InProgress", "Suspended"}
)

// Every state, by a sentence of what is so.
var states = []struct {
	sentence, file string
	health         health
}{
	{"a connection that works is ready", "AllPermissionsGranted", ready},
	{"one that works and requires no permission is ready", "OnlyLoginTested", ready},
	{"one that works and had a hiccup is ready still", "Degraded", ready},
	{"one with a candidate that is refused is ready still", "ActiveWithRefusedCandidate", ready},

	{"a new one is waited for", "Probing", retried},
	{"one that was ready before an edit is waited for", "ActiveThenEdited", retried},
	{"one that had failed before an edit is waited for", "UnauthorizedThenEdited", retried},
	{"a Secret that is yet to come is waited for", "SecretNotFound", retried},
	{"a CA bundle that is yet to come is waited for", "CaNotFound", retried},
	{"a right that is missing may be given", "ReferenceForbidden", retried},
	{"a name that does not resolve may come to resolve", "HostNotFound", retried},
	{"a connection that is not made in time is tried again", "ConnectTimeout", retried},
	{"a connection that is refused is tried again", "ConnectRefused", retried},
	{"a proxy that fails is tried again", "ProxyFailed", retried},
	{"a certificate may be renewed", "TlsUntrusted", retried},
	{"a handshake that fails is tried again", "TlsFailed", retried},
	{"an answer that is late is tried again", "AnswerTimeout", retried},
	{"a connection that breaks is tried again", "ConnectionLost", retried},
	{"a web page in place of the service may be maintenance", "NotUkgPro", retried},
	{"a limit of requests passes", "RateLimited", retried},
	{"a host with trouble of its own is tried again", "ServerError", retried},
	{"an address that is not allowed may be DNS of the moment", "AddressNotAllowed", retried},
	{"an unclear answer to the login is tried again", "LoginUndetermined", retried},
	{"an answer that cannot be read may come from a proxy that is repaired", "AnswerUnreadable", retried},
	{"an unclear answer to a probe is tried again", "PermissionsUndetermined", retried},
	{"a check that waits for its host is coming", "CheckDelayed", retried},
	{"one that was not checked for long is not known to work", "CheckOverdue", retried},

	{"refused credentials need a person", "CredentialsRejected", stalled},
	{"a refused Customer API key needs a person", "CustomerApiKeyRejected", stalled},
	{"a refused User API key needs a person", "UserApiKeyRejected", stalled},
	{"credentials that were refused before need a person", "LoginHeld", stalled},
	{"a password that was refused with another key needs a person", "PasswordHeld", stalled},
	{"a missing permission needs a person", "PermissionsMissing", stalled},
	{"a login that REST refuses needs a person", "RestLoginRefused", stalled},
	{"a Secret without a key needs a person", "SecretKeyMissing", stalled},
	{"a value that cannot be right needs a person", "SecretValueMalformed", stalled},
	{"swapped keys need a person", "ApiKeysSwapped", stalled},
	{"a host that cannot be needs a person", "EndpointInvalid", stalled},
	{"a domain that is not allowed needs a person", "DomainNotAllowed", stalled},
	{"a CA bundle that cannot be used needs a person", "CaInvalid", stalled},
	{"an unknown permission needs a person", "PermissionUnknown", stalled},
	{"a refusal in unknown words needs a person", "LoginFailedUnexplained", stalled},
	{"a login whose end nobody saw needs a person", "LoginUncertain", stalled},
	{"an account that is locked needs a person", "AccountUnusable", stalled},
	{"logins that are answered neither by yes nor by no need a person", "LoginPaused", stalled},
	{"an account that has had its logins needs a person", "LoginLimitReached", stalled},

	{"one that was suspended before its first check is not ready", "Suspended", suspended},
	{"one that was suspended while refused is not ready", "UnauthorizedThenSuspended", suspended},
	// Its verdict stays, and with it what depends on it.
	{"one that was suspended while it worked is ready still", "ActiveThenSuspended", health{"Current", "Suspended"}},
}

func stored(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "states", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	connection := &unstructured.Unstructured{}
	json, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := connection.UnmarshalJSON(json); err != nil {
		t.Fatal(err)
	}
	return connection
}

// condition gives a condition's field, or nothing.
func condition(connection *unstructured.Unstructured, kind, field string) string {
	conditions, _, _ := unstructured.NestedSlice(connection.Object, "status", "conditions")
	for _, each := range conditions {
		if each := each.(map[string]any); each["type"] == kind {
			text, _ := each[field].(string)
			return text
		}
	}
	return ""
}

func TestEveryStateHasItsSentence(t *testing.T) {
	files, err := filepath.Glob("../states/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no states", err)
	}
	told := map[string]bool{}
	for _, state := range states {
		told[state.file] = true
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		if !told[name] {
			t.Errorf("nothing is said of %s", name)
		}
		delete(told, name)
	}
	for name := range told {
		t.Errorf("there is no state %s", name)
	}
}

func TestReadyMeansActive(t *testing.T) {
	for _, state := range states {
		if connection := stored(t, state.file); state.health.kstatus == "Current" {
			if got := condition(connection, "Active", "status"); got != "True" {
				t.Errorf("%s: Active is %s", state.file, got)
			}
		}
	}
}
