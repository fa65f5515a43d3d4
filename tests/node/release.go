package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	release          = "ukgpro-operator"
	releaseNamespace = "ukgpro-system"
	// As the chart labels the operators' Pods.
	operators = "app.kubernetes.io/name=ukgpro-operator,app.kubernetes.io/component=operator"
	// A rollout replaces two Pods, one after the other; each is Ready within seconds.
	rolloutWithin = 3 * time.Minute
)

// image is what the tar of `make image` is called once it is imported.
func (c *cluster) image(t *testing.T, program string) (name, digest string) {
	t.Helper()
	for _, line := range strings.Split(c.run("ctr", "--address", c.machines[0].socket(), "--namespace", "k8s.io", "images", "list"), "\n") {
		fields := strings.Fields(line)
		if len(fields) > 2 && strings.Contains(fields[0], "/"+program+":") {
			return fields[0], fields[2]
		}
	}
	t.Fatalf("no image of %s was imported", program)
	return "", ""
}

// install installs the chart of this repository, with no more values than the simulator's being inside the cluster and
// helm test's use of it ask for, and returns when its Pods are Ready.
func (c *cluster) install(t *testing.T) {
	t.Helper()
	// A file, as --set would take the commas of the domains apart.
	values := filepath.Join(c.settings.state, "values.yaml")
	simulator, _ := c.image(t, "ukgpro-simulator")
	at := strings.LastIndex(simulator, ":")
	content := fmt.Sprintf("operator:\n  allowedDomains: [%s]\n  allowPrivateAddresses: true\ntests:\n  simulator: {repository: %s, tag: %q}\n",
		domain, simulator[:at], simulator[at+1:])
	if err := os.WriteFile(values, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	c.helm(t, "install", release, c.settings.chart, "--namespace", releaseNamespace, "--create-namespace", "--values", values,
		"--wait", "--timeout", rolloutWithin.String())
}

// operatorPods are the names of the Pods that are Ready and not on their way out.
func (c *cluster) operatorPods() []string {
	const ready = `{range .items[?(@.status.containerStatuses[0].ready==true)]}{.metadata.name} {.metadata.deletionTimestamp}{"\n"}{end}`
	var pods []string
	for _, line := range strings.Split(c.query("get", "pods", "--namespace", releaseNamespace, "--selector", operators, "--output=jsonpath="+ready), "\n") {
		if fields := strings.Fields(line); len(fields) == 1 {
			pods = append(pods, fields[0])
		}
	}
	return pods
}

// leader is the Pod that holds the Lease; empty while nobody does.
func (c *cluster) leader() string {
	holder := c.query("get", "lease", release, "--namespace", releaseNamespace, "--output=jsonpath={.spec.holderIdentity}")
	pod, _, _ := strings.Cut(holder, "_")
	return pod
}

// expectLeaderOtherThan waits for one of the Pods that are Ready to hold the Lease, but none of those.
func (c *cluster) expectLeaderOtherThan(t *testing.T, former ...string) string {
	t.Helper()
	var leader string
	c.eventually(t, "another leader", time.Minute, func() error {
		leader = c.leader()
		for _, pod := range former {
			if pod == leader {
				return fmt.Errorf("%s still leads", leader)
			}
		}
		for _, pod := range c.operatorPods() {
			if pod == leader {
				return nil
			}
		}
		return fmt.Errorf("the Lease's holder is %q, of %v", leader, c.operatorPods())
	})
	return leader
}

func (c *cluster) nodeOf(t *testing.T, pod string) string {
	t.Helper()
	return c.kubectl(t, "get", "pod", pod, "--namespace", releaseNamespace, "--output=jsonpath={.spec.nodeName}")
}

// drain does it as an administrator does, but for the Pods of others: the simulator, which has its state in memory.
func (c *cluster) drain(node string, atMost time.Duration) (string, error) {
	return c.command(filepath.Join(c.settings.assets, "kubectl"), "drain", node, "--ignore-daemonsets", "--pod-selector", operators,
		"--timeout="+atMost.String())
}
