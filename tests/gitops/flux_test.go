package gitops

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	notificationv1beta3 "github.com/fluxcd/notification-controller/api/v1beta3"
	"github.com/fluxcd/pkg/runtime/cel"
	"sigs.k8s.io/yaml"
)

func TestKstatus(t *testing.T) {
	for _, state := range states {
		t.Run(state.sentence, func(t *testing.T) {
			connection := stored(t, state.file)
			result, err := status.Compute(connection)
			if err != nil {
				t.Fatal(err)
			}
			if string(result.Status) != state.health.kstatus {
				t.Errorf("%s is %s, not %s: %s", state.file, result.Status, state.health.kstatus, result.Message)
			}
			// Who waits for it is told why in the connection's own words.
			if state.health == stalled && result.Message != condition(connection, "Ready", "message") {
				t.Errorf("the message is %q", result.Message)
			}
		})
	}
}

// The variant that carries the connection's message fails by an error in its expression, which kustomize-controller reports.
func TestHealthCheckExpressions(t *testing.T) {
	kustomization := kustomizev1.Kustomization{}
	strictly(t, document(t, "../../examples/gitops/flux/message.yaml", "Kustomization"), &kustomization)
	expressions := kustomization.Spec.HealthCheckExprs
	if len(expressions) != 1 || expressions[0].Kind != "UkgProConnection" || expressions[0].APIVersion != "ukgpro.dev/v1alpha1" {
		t.Fatalf("the expressions are for %v", expressions)
	}
	evaluator, err := cel.NewStatusEvaluator(&expressions[0].HealthCheckExpressions)
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range states {
		t.Run(state.sentence, func(t *testing.T) {
			connection := stored(t, state.file)
			result, err := evaluator.Evaluate(context.Background(), connection)
			if state.health == stalled {
				if err == nil || !strings.Contains(err.Error(), condition(connection, "Ready", "message")) {
					t.Errorf("%s gives %v and %v", state.file, result, err)
				}
				return
			}
			if err != nil || string(result.Status) != state.health.kstatus {
				t.Errorf("%s gives %v and %v, not %s", state.file, result, err, state.health.kstatus)
			}
		})
	}
}

// The CRDs of helm-controller and notification-controller are not to be had as Go modules; their types are.
func TestWhatHasTypesOnlyIsReadStrictly(t *testing.T) {
	strictly(t, document(t, "../../examples/gitops/flux/operator.yaml", "HelmRelease"), &helmv2.HelmRelease{})
	strictly(t, document(t, "../../examples/gitops/flux/alert.yaml", "Provider"), &notificationv1beta3.Provider{})
	strictly(t, document(t, "../../examples/gitops/flux/alert.yaml", "Alert"), &notificationv1beta3.Alert{})
}

// document gives the one document of this kind in a file.
func document(t *testing.T, path, kind string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range strings.Split(string(text), "\n---\n") {
		if strings.Contains("\n"+each, "\nkind: "+kind+"\n") {
			return []byte(each)
		}
	}
	t.Fatalf("%s has no %s", path, kind)
	return nil
}

func strictly(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		t.Error(err)
	}
}
