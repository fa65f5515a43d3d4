package node

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// One cluster, as it costs most of the time; each step needs those before it.
func TestNode(t *testing.T) {
	c := start(t)
	t.Cleanup(func() {
		if t.Failed() {
			c.tell(t)
		}
	})
	for _, step := range []struct {
		name string
		test func(*testing.T)
	}{
		{"the chart's Pods become Ready", c.testInstall},
		{"a Pod has the image and no more rights than it needs", c.testPod},
		{"connections get their verdicts", c.testVerdicts},
		{"helm test passes", c.testHelmTest},
		{"a rolling upgrade loses and changes no verdict", c.testUpgrade},
		{"a drain hands over", c.testDrain},
		{"the disruption budget keeps the last operator", c.testBudget},
		{"no request was refused", c.testRefusals},
		{"uninstalling leaves the connections", c.testUninstall},
	} {
		if !t.Run(step.name, func(t *testing.T) { c.at(t, step.test) }) {
			return
		}
	}
}

// at has failures inside of the cluster's own methods end the step, not the whole.
func (c *cluster) at(t *testing.T, test func(*testing.T)) {
	outer := c.t
	c.t = t
	defer func() { c.t = outer }()
	test(t)
}

func (c *cluster) testInstall(t *testing.T) {
	begun := time.Now()
	c.install(t)
	t.Logf("installed and Ready in %s", time.Since(begun).Round(100*time.Millisecond))

	pods := c.operatorPods()
	if len(pods) != 2 {
		t.Fatalf("%v are Ready, of two", pods)
	}
	if on, other := c.nodeOf(t, pods[0]), c.nodeOf(t, pods[1]); on == other {
		t.Errorf("both are on %s", on)
	}
	c.expectLeaderOtherThan(t)
}

func (c *cluster) testPod(t *testing.T) {
	name, digest := c.image(t, "ukgpro-operator")
	pod := c.operatorPods()[0]
	status := c.kubectl(t, "get", "pod", pod, "--namespace", releaseNamespace, "--output=jsonpath={.status.containerStatuses[0]}")
	if !strings.Contains(status, name) {
		t.Errorf("it runs another image than %s: %s", name, status)
	}
	t.Logf("%s is %s", name, digest)

	// What the kernel says of the process, whatever the manifests ask for.
	process := c.processOf(t, pod)
	said := map[string]string{}
	for _, line := range strings.Split(string(readFile(t, "/proc/"+process+"/status")), "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			said[name] = strings.Join(strings.Fields(value), " ")
		}
	}
	for name, want := range map[string]string{
		"Uid": "65532 65532 65532 65532", "Gid": "65532 65532 65532 65532", "CapEff": "0000000000000000", "CapBnd": "0000000000000000",
		"NoNewPrivs": "1", "Seccomp": "2",
	} {
		if said[name] != want {
			t.Errorf("%s is %q, not %q", name, said[name], want)
		}
	}
	for _, line := range strings.Split(string(readFile(t, "/proc/"+process+"/mounts")), "\n") {
		if fields := strings.Fields(line); len(fields) > 3 && fields[1] == "/" && !slices.Contains(strings.Split(fields[3], ","), "ro") {
			t.Errorf("its root can be written: %s", line)
		}
	}
	if output, err := c.command(c.settings.assets+"/kubectl", "exec", pod, "--namespace", releaseNamespace, "--", "/bin/sh"); err == nil ||
		!strings.Contains(err.Error(), "no such file or directory") {
		t.Errorf("/bin/sh: %v %s", err, output)
	}
}

func (c *cluster) testVerdicts(t *testing.T) {
	name, _ := c.image(t, "ukgpro-simulator")
	ca := c.startSimulator(t, name)
	begun := time.Now()
	c.startFleet(ca)
	c.expectVerdicts(t)
	t.Logf("%d connections have their verdicts %s after kubectl apply began", fleetSize, time.Since(begun).Round(100*time.Millisecond))
	c.expectCheck(t)
	t.Logf("the leader takes %s, and the other %s", c.memoryOf(t, c.leader()), c.memoryOf(t, c.other(c.leader())))
}

func (c *cluster) testHelmTest(t *testing.T) {
	said := c.helm(t, "test", release, "--namespace", releaseNamespace, "--timeout", "4m")
	// helm is content with a chart whose tests it does not find.
	for _, pod := range []string{release + "-test-release", release + "-test-simulator"} {
		_, of, found := strings.Cut(said, "TEST SUITE:     "+pod+"\n")
		of, _, _ = strings.Cut(of, "TEST SUITE:")
		if !found || !strings.Contains(of, "Phase:          Succeeded") {
			t.Errorf("%s did not succeed: %s", pod, said)
		}
	}
}

func (c *cluster) testUpgrade(t *testing.T) {
	before := c.standing(t)
	former := c.operatorPods()
	c.helm(t, "upgrade", release, c.settings.chart, "--namespace", releaseNamespace, "--reuse-values", "--set", "log.level=debug",
		"--wait", "--timeout", rolloutWithin.String())
	c.eventually(t, "the former Pods to go", time.Minute, func() error {
		if pods := c.operatorPods(); slices.Contains(pods, former[0]) || slices.Contains(pods, former[1]) || len(pods) != 2 {
			return fmt.Errorf("there are %v", pods)
		}
		return nil
	})
	c.expectLeaderOtherThan(t, former...)
	c.expectCheck(t)
	c.expectUnmoved(t, before)
}

func (c *cluster) testDrain(t *testing.T) {
	before := c.standing(t)
	leader := c.leader()
	node := c.nodeOf(t, leader)
	begun := time.Now()
	if _, err := c.drain(node, time.Minute); err != nil {
		t.Fatal(err)
	}
	next := c.expectLeaderOtherThan(t, leader)
	t.Logf("%s was drained, and %s leads, %s after the drain began", node, next, time.Since(begun).Round(100*time.Millisecond))
	t.Logf("it answered a request in %s", c.expectCheck(t).Round(100*time.Millisecond))
	c.eventually(t, "two operators on the other node", time.Minute, func() error {
		if pods := c.operatorPods(); len(pods) != 2 {
			return fmt.Errorf("there are %v", pods)
		}
		return nil
	})
	for _, pod := range c.operatorPods() {
		if on := c.nodeOf(t, pod); on == node {
			t.Errorf("%s is on %s, which was drained", pod, on)
		}
	}
	c.expectUnmoved(t, before)
}

// The first node is still closed, so what is evicted from the second has nowhere to go.
func (c *cluster) testBudget(t *testing.T) {
	before := c.standing(t)
	node := c.nodeOf(t, c.operatorPods()[0])
	_, err := c.drain(node, 20*time.Second)
	if err == nil || !strings.Contains(err.Error(), "disruption budget") {
		t.Errorf("draining %s too was not refused: %v", node, err)
	}
	if pods := c.operatorPods(); len(pods) != 1 {
		t.Errorf("%v are left, of one", pods)
	}
	c.expectCheck(t)
	c.expectUnmoved(t, before)
	for _, m := range c.machines {
		c.kubectl(t, "uncordon", m.name)
	}
	c.eventually(t, "two operators", time.Minute, func() error {
		if pods := c.operatorPods(); len(pods) != 2 {
			return fmt.Errorf("there are %v", pods)
		}
		return nil
	})
}

// The operators ran under the chart's rights all the while.
func (c *cluster) testRefusals(t *testing.T) {
	log, err := os.Open(c.report.AuditLog)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	var seen int
	for lines.Scan() {
		var request struct {
			Verb       string `json:"verb"`
			RequestURI string `json:"requestURI"`
			User       struct {
				Username string `json:"username"`
			} `json:"user"`
			ResponseStatus struct {
				Code int `json:"code"`
			} `json:"responseStatus"`
		}
		if err := json.Unmarshal(lines.Bytes(), &request); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(request.User.Username, "system:serviceaccount:"+releaseNamespace+":") {
			continue
		}
		seen++
		if code := request.ResponseStatus.Code; code == 401 || code == 403 {
			t.Errorf("%s was refused with %d: %s %s", request.User.Username, code, request.Verb, request.RequestURI)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if seen < fleetSize {
		t.Errorf("the audit log has %d requests of the operators, fewer than connections", seen)
	}
}

func (c *cluster) testUninstall(t *testing.T) {
	before := c.fleet(t)
	c.helm(t, "uninstall", release, "--namespace", releaseNamespace, "--wait", "--timeout", "2m")
	if pods := c.operatorPods(); len(pods) > 0 {
		t.Errorf("%v are left", pods)
	}
	if after := c.fleet(t); len(after) != len(before) {
		t.Errorf("%d connections are left of %d", len(after), len(before))
	}
}

// other is the operator that does not lead.
func (c *cluster) other(leader string) string {
	for _, pod := range c.operatorPods() {
		if pod != leader {
			return pod
		}
	}
	return ""
}

// processOf is the number of a Pod's operator, as these tests' own PID namespace has it.
func (c *cluster) processOf(t *testing.T, pod string) string {
	t.Helper()
	const id = `{.status.containerStatuses[0].containerID} {.spec.nodeName}`
	container, node, _ := strings.Cut(c.kubectl(t, "get", "pod", pod, "--namespace", releaseNamespace, "--output=jsonpath="+id), " ")
	for _, m := range c.machines {
		if m.name != node {
			continue
		}
		for _, line := range strings.Split(c.run("ctr", "--address", m.socket(), "--namespace", "k8s.io", "tasks", "list"), "\n") {
			if fields := strings.Fields(line); len(fields) > 1 && fields[0] == strings.TrimPrefix(container, "containerd://") {
				return fields[1]
			}
		}
	}
	t.Fatalf("%s has no process", pod)
	return ""
}

// memoryOf is what a Pod's operator has resident.
func (c *cluster) memoryOf(t *testing.T, pod string) string {
	t.Helper()
	for _, line := range strings.Split(string(readFile(t, "/proc/"+c.processOf(t, pod)+"/status")), "\n") {
		if kilobytes, found := strings.CutPrefix(line, "VmRSS:"); found {
			number, err := strconv.Atoi(strings.Fields(kilobytes)[0])
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("%.1f MiB", float64(number)/1024)
		}
	}
	return "nothing"
}

// tell says what is where, for someone who has only the output.
func (c *cluster) tell(t *testing.T) {
	t.Log(c.query("get", "pods", "--all-namespaces", "--output=wide"))
	t.Log(c.query("get", "events", "--namespace", releaseNamespace, "--sort-by=.lastTimestamp"))
	for _, pod := range strings.Fields(c.query("get", "pods", "--namespace", releaseNamespace, "--output=jsonpath={.items[*].metadata.name}")) {
		t.Logf("%s:\n%s", pod, c.query("logs", "--namespace", releaseNamespace, pod, "--all-containers", "--tail=20"))
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
