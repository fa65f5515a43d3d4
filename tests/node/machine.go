package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Of all Pods; each node has a part of it.
const podRange = "10.99.0.0/16"

// machine is one node: a directory, an address, and a range for its Pods.
type machine struct {
	name    string
	address string
	number  int
	dir     string
}

func newMachine(s settings, number int, address string) *machine {
	name := fmt.Sprintf("node-%d", number)
	return &machine{name: name, address: address, number: number, dir: filepath.Join(s.state, name)}
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

func (m *machine) socket() string { return fmt.Sprintf("/run/%s/containerd.sock", m.name) }

// write makes what containerd, its network plugins and kubelet read.
func (m *machine) write(ca, cgroup string) error {
	for _, dir := range []string{m.path("cni"), m.path("pki"), m.path("kubelet"), filepath.Dir(m.socket())} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return errors.Join(
		os.WriteFile(m.path("containerd.toml"), m.containerd(), 0o600),
		os.WriteFile(m.path("cni/10-pods.conflist"), m.network(), 0o600),
		os.WriteFile(m.path("kubelet.yaml"), m.kubelet(ca, cgroup), 0o600),
		// There is no name server but the cluster's.
		os.WriteFile(m.path("resolv.conf"), nil, 0o644),
	)
}

func (m *machine) containerd() []byte {
	return fmt.Appendf(nil, `version = 2
root = %[1]q
state = "/run/%[2]s/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]

[grpc]
  address = %[3]q

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %[4]q
  # A machine that is itself confined may not lower the score of a process.
  restrict_oom_score_adj = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = %[5]q
`, m.path("containerd"), m.name, m.socket(), pauseImage, m.path("cni"))
}

func (m *machine) network() []byte {
	return fmt.Appendf(nil, `{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [{
    "type": "ptp",
    "ipam": {
      "type": "host-local",
      "dataDir": %q,
      "ranges": [[{"subnet": "10.99.%d.0/24"}]],
      "routes": [{"dst": "0.0.0.0/0"}]
    }
  }]
}
`, m.path("addresses"), m.number)
}

func (m *machine) kubelet(ca, cgroup string) []byte {
	return fmt.Appendf(nil, `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: %[1]s
port: %[2]d
healthzPort: %[3]d
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %[4]s}
authorization: {mode: Webhook}
clusterDNS: [%[5]s]
clusterDomain: cluster.local
resolvConf: %[6]s
containerRuntimeEndpoint: unix://%[7]s
podLogsDir: %[8]s
# Where the machine has only version 1.
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: %[9]s
failSwapOn: false
localStorageCapacityIsolation: false
makeIPTablesUtilChains: false
# How full this machine's disk is is no concern of the test's.
evictionHard: {nodefs.available: "0%%", imagefs.available: "0%%", nodefs.inodesFree: "0%%", memory.available: 1Mi}
imageGCHighThresholdPercent: 100
`, m.address, 10250, 10300+m.number, ca, dnsAddress, m.path("resolv.conf"), m.socket(), m.path("pods"), cgroup+"/"+m.name)
}
