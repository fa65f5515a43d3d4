// Package node is a cluster whose nodes really run Pods, on one machine and in namespaces of its own: the control plane
// of ../controlplane, and beside it two nodes of containerd and kubelet each, one kube-proxy, and CoreDNS.
//
// Role: what only a node can show of the operator. The image runs, as whom and with what the chart says; Pods become
// Ready; a rollout and a drain hand over without a verdict being lost. The tests are node_test.go, in order.
//
// Limits: both nodes share one network namespace, so one kube-proxy serves both, and nothing enforces a NetworkPolicy.
// CoreDNS is a process and no Pod. run.sh prepares all this, and takes it down again.
//
// File map: cluster.go puts the parts together; machine.go is a node's files; process.go keeps processes; client.go
// speaks to the cluster.
package node

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	// A busy machine of two cores needs half of it.
	startsWithin = 3 * time.Minute
	// In the range of services, where clusters have it.
	dnsAddress = "10.0.0.10"
	pauseImage = "localhost/pause:1"
)

// settings are what run.sh hands over.
type settings struct {
	state, assets, nodeAssets, coredns, helm, chart string
	images                                          []string
	addresses                                       []string
	cgroup                                          string
}

type cluster struct {
	t         *testing.T
	settings  settings
	logs      string
	processes []*process
	report    struct {
		Kubeconfig string            `json:"kubeconfig"`
		CAFile     string            `json:"caFile"`
		AuditLog   string            `json:"auditLog"`
		Nodes      map[string]string `json:"nodes"`
		Proxy      string            `json:"proxy"`
	}
	machines []*machine
}

func fromEnvironment(t *testing.T) settings {
	t.Helper()
	want := func(name string) string {
		value := os.Getenv(name)
		if value == "" {
			t.Fatalf("%s is not set: run this by make e2e-node", name)
		}
		return value
	}
	return settings{
		state:      want("NODE_STATE"),
		assets:     want("NODE_CONTROLPLANE"),
		nodeAssets: want("NODE_ASSETS"),
		coredns:    want("NODE_COREDNS"),
		helm:       want("NODE_HELM"),
		chart:      want("NODE_CHART"),
		images:     strings.Fields(want("NODE_IMAGES")),
		addresses:  strings.Fields(want("NODE_ADDRESSES")),
		cgroup:     want("NODE_CGROUP"),
	}
}

// start brings the cluster up and returns when its nodes are Ready and names resolve.
func start(t *testing.T) *cluster {
	c := &cluster{t: t, settings: fromEnvironment(t)}
	c.logs = filepath.Join(c.settings.state, "logs")
	if err := os.MkdirAll(c.logs, 0o755); err != nil {
		t.Fatal(err)
	}
	for i, address := range c.settings.addresses {
		c.machines = append(c.machines, newMachine(c.settings, i+1, address))
	}
	c.startControlPlane()
	for _, m := range c.machines {
		c.startMachine(m)
	}
	c.startProxy()
	c.startDNS()
	for _, m := range c.machines {
		c.eventually(t, m.name+" to be Ready", startsWithin, func() error {
			ready := c.query("get", "node", m.name, `--output=jsonpath={.status.conditions[?(@.type=="Ready")].status}{.spec.taints}`)
			// A new node is tainted until its controller has seen that it is Ready.
			if ready != "True" {
				return fmt.Errorf("Ready and taints are %q; kubelet says:\n%s", ready, tail(filepath.Join(c.logs, m.name+"-kubelet.log")))
			}
			return nil
		})
	}
	return c
}

func (c *cluster) startControlPlane() {
	arguments := []string{"up", "--scheduler", "--audit", "--address=" + c.machines[0].address, "--dir=" + filepath.Join(c.settings.state, "controlplane")}
	for _, m := range c.machines {
		arguments = append(arguments, "--node="+m.name)
	}
	c.launch("controlplane", filepath.Join(c.settings.assets, "controlplane"), arguments...)
	c.eventually(c.t, "the control plane", startsWithin, func() error {
		said, err := os.Open(filepath.Join(c.logs, "controlplane.log"))
		if err != nil {
			return err
		}
		defer said.Close()
		line, err := bufio.NewReader(said).ReadBytes('\n')
		if err != nil {
			return err
		}
		return json.Unmarshal(line, &c.report)
	})
}

func (c *cluster) startMachine(m *machine) {
	if err := m.write(c.report.CAFile, c.settings.cgroup); err != nil {
		c.t.Fatal(err)
	}
	c.launch(m.name+"-containerd", "containerd", "--config", m.path("containerd.toml"))
	c.eventually(c.t, m.name+"'s containerd", startsWithin, func() error {
		connection, err := net.Dial("unix", m.socket())
		if err != nil {
			return err
		}
		return connection.Close()
	})
	for _, image := range c.settings.images {
		c.run("ctr", "--address", m.socket(), "--namespace", "k8s.io", "images", "import", "--no-unpack=false", image)
	}
	c.launch(m.name+"-kubelet", filepath.Join(c.settings.nodeAssets, "kubelet"),
		"--config="+m.path("kubelet.yaml"), "--kubeconfig="+c.report.Nodes[m.name], "--hostname-override="+m.name,
		"--node-ip="+m.address, "--root-dir="+m.path("kubelet"), "--cert-dir="+m.path("pki"))
}

func (c *cluster) startProxy() {
	path := filepath.Join(c.settings.state, "kube-proxy.yaml")
	c.write(path, fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: %s
clientConnection: {kubeconfig: %s}
detectLocalMode: ClusterCIDR
clusterCIDR: %s
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
# The number of tracked connections is the whole machine's.
conntrack: {maxPerCore: 0, min: 0}
`, c.machines[0].name, c.report.Proxy, podRange))
	c.launch("kube-proxy", filepath.Join(c.settings.nodeAssets, "kube-proxy"), "--config="+path)
}

// startDNS runs CoreDNS on the first node's address and gives it the Service that clusters have.
func (c *cluster) startDNS() {
	at := c.machines[0].address
	path := filepath.Join(c.settings.state, "Corefile")
	c.write(path, fmt.Sprintf(`.:53 {
  bind %s
  errors
  kubernetes cluster.local {
    kubeconfig %s
  }
}
`, at, c.report.Kubeconfig))
	c.launch("coredns", c.settings.coredns, "-conf", path)
	c.apply(fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec:
  clusterIP: %s
  ports:
    - {name: dns, protocol: UDP, port: 53}
    - {name: dns-tcp, protocol: TCP, port: 53}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
endpoints: [{addresses: [%s]}]
ports:
  - {name: dns, protocol: UDP, port: 53}
  - {name: dns-tcp, protocol: TCP, port: 53}
`, dnsAddress, at))
}

// run runs a program to its end and returns what it said; that it fails fails the test.
func (c *cluster) run(program string, arguments ...string) string {
	c.t.Helper()
	output, err := exec.Command(program, arguments...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("%s %s: %v: %s", filepath.Base(program), strings.Join(arguments, " "), err, output)
	}
	return string(output)
}

func (c *cluster) write(path, content string) {
	c.t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		c.t.Fatal(err)
	}
}
