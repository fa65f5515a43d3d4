package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// With it, the test binary is the supervisor: what is tested is a process, as its callers see it.
	runAsSupervisor = "CONTROLPLANE_TEST_RUN_MAIN"
	// Names the directory that build.sh prints. Without it, the tests that need Kubernetes are skipped.
	assetsVariable = "CONTROLPLANE_ASSETS"
)

func TestMain(m *testing.M) {
	if os.Getenv(runAsSupervisor) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestADeadComponentIsNamedWithTheEndOfItsLog(t *testing.T) {
	assets := t.TempDir()
	script := "#!/bin/sh\necho the disk is full\nexit 3\n"
	if err := os.WriteFile(filepath.Join(assets, "etcd"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	u := launch(t, "--assets", assets)

	u.expectExit(1)
	for _, want := range []string{"etcd", "died: exit status 3", "the disk is full"} {
		if !strings.Contains(u.stderr.String(), want) {
			t.Errorf("no %q in: %s", want, u.stderr.String())
		}
	}
	u.expectNothingLeft()
}

func TestAMissingBinaryIsAnErrorAndLeavesNothing(t *testing.T) {
	u := launch(t, "--assets", t.TempDir())

	u.expectExit(1)
	if !strings.Contains(u.stderr.String(), "etcd could not be started") {
		t.Errorf("unclear: %s", u.stderr.String())
	}
	u.expectNothingLeft()
}

func TestAPortTakenMeanwhileIsReplacedByAnother(t *testing.T) {
	// The first process says what etcd and kube-apiserver say then, any later one runs.
	dir := t.TempDir()
	failed, runs := filepath.Join(dir, "failed"), filepath.Join(dir, "runs")
	script := fmt.Sprintf(`[ -e %[1]s ] || { : > %[1]s; echo "bind: address already in use"; exit 1; }; : > %[2]s; exec sleep 60`, failed, runs)
	var ports []int
	c := &component{
		name:    "late",
		binary:  "/bin/sh",
		logs:    filepath.Join(dir, "log"),
		listens: true,
		arguments: func(port int) []string {
			ports = append(ports, port)
			return []string{"-c", script}
		},
		ready: func(context.Context, int) error {
			_, err := os.Stat(runs)
			return err
		},
	}
	s := newSupervisor(t.Context())
	defer s.stopAll()

	if err := s.add(c); err != nil {
		t.Fatal(err)
	}
	if len(ports) != 2 || ports[1] != c.port {
		t.Errorf("tried %v, kept %d", ports, c.port)
	}
}

func TestADirectoryInUseIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	launch(t, "--dir", dir).expectExit(1)
}

func TestEveryWayToEndLeavesNoProcess(t *testing.T) {
	ways := []struct {
		name   string
		end    func(*upProcess)
		status int
		// A killed supervisor cannot remove its directory: the next one does.
		leavesDirectory bool
	}{
		{"SIGTERM", func(u *upProcess) { u.signal(syscall.SIGTERM) }, 0, false},
		{"SIGINT", func(u *upProcess) { u.signal(syscall.SIGINT) }, 0, false},
		{"end of standard input", func(u *upProcess) { u.stdin.Close() }, 0, false},
		{"SIGKILL", func(u *upProcess) { u.signal(syscall.SIGKILL) }, -1, true},
		{"death of a component", func(u *upProcess) { _ = syscall.Kill(u.report.Pids["etcd"], syscall.SIGKILL) }, 1, false},
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			u := launchReady(t)
			way.end(u)
			u.expectExit(way.status)
			u.expectNoProcess()
			if way.leavesDirectory {
				sweep(u.temp)
			}
			u.expectNothingLeft()
		})
	}
}

func TestTheAPIServerIsUsableOnceReady(t *testing.T) {
	u := launchReady(t, "--audit")

	u.kubectl("create", "namespace", "here")
	u.eventually("the controllers to fill the namespace", func() bool {
		return strings.Contains(u.kubectl("get", "configmaps", "--namespace=here", "--output=name"), "kube-root-ca.crt")
	})
	u.kubectl("create", "serviceaccount", "nobody", "--namespace=here")
	token := u.kubectl("create", "token", "nobody", "--namespace=here")
	client, err := httpClient(u.read(u.report.CAFile))
	if err != nil {
		t.Fatal(err)
	}
	request, _ := http.NewRequest(http.MethodGet, u.report.Server+"/api/v1/namespaces/here/secrets", nil)
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("a service account without a role got %s", response.Status)
	}
	if audit := u.read(*u.report.AuditLog); !bytes.Contains(audit, []byte("system:serviceaccount:here:nobody")) {
		t.Error("the audit log does not show the refused request")
	}
}

func TestAnAddressThatIsNoneIsRefused(t *testing.T) {
	u := launch(t, "--address", "localhost")

	u.expectExit(1)
	if !strings.Contains(u.stderr.String(), "no IP address") {
		t.Errorf("unclear: %s", u.stderr.String())
	}
}

func TestEachNodeIsWhoKubernetesTakesItFor(t *testing.T) {
	u := launchReady(t, "--node=a", "--node=b")

	who := func(kubeconfig string) string {
		return u.kubectl("--kubeconfig", kubeconfig, "auth", "whoami", "--output=jsonpath={.status.userInfo.username} {.status.userInfo.groups}")
	}
	for _, name := range []string{"a", "b"} {
		if said := who(u.report.Nodes[name]); !strings.HasPrefix(said, "system:node:"+name+" ") || !strings.Contains(said, `"system:nodes"`) {
			t.Errorf("node %s is %s", name, said)
		}
	}
	if said := who(u.report.Proxy); !strings.HasPrefix(said, "system:kube-proxy ") {
		t.Errorf("kube-proxy is %s", said)
	}
}

func TestComponentsHangCrashAndComeBackOnCommand(t *testing.T) {
	u := launchReady(t)
	u.kubectl("create", "namespace", "kept")

	u.expectDone("stop kube-apiserver")
	// An answer that is under way may still come.
	u.eventually("the API server to stand still", func() bool { return u.healthy() != nil })
	u.expectDone("cont kube-apiserver")
	u.eventually("the API server to go on", func() bool { return u.healthy() == nil })

	for _, name := range []string{"kube-apiserver", "etcd"} {
		u.expectDone("kill " + name)
		u.expectRefused("kill " + name)
		u.expectDone("start " + name)
		u.expectRefused("start " + name)
		u.eventually("the data to be there after a crash of "+name, func() bool {
			return strings.Contains(u.kubectl("get", "namespaces", "--output=name"), "namespace/kept")
		})
	}
	u.expectRefused("kill nothing-known")
	u.expectRefused("tickle etcd")
	u.expectRefused("")
}

func TestSupervisorsRunBesideEachOther(t *testing.T) {
	one, other := launchReady(t), launchReady(t)

	one.kubectl("create", "namespace", "only-here")
	if strings.Contains(other.kubectl("get", "namespaces", "--output=name"), "only-here") {
		t.Error("both are the same control plane")
	}
}

// upProcess is a running `controlplane up` whose temporary directory is its own.
type upProcess struct {
	t       *testing.T
	command *exec.Cmd
	temp    string
	stdin   io.WriteCloser
	stdout  *bufio.Reader
	stderr  bytes.Buffer
	report  ready
}

func launch(t *testing.T, flags ...string) *upProcess {
	t.Helper()
	u := &upProcess{t: t, temp: t.TempDir()}
	u.command = exec.Command(os.Args[0], append([]string{"up", "--until-stdin-closes"}, flags...)...)
	u.command.Env = append(os.Environ(), runAsSupervisor+"=1", "TMPDIR="+u.temp)
	u.command.Stderr = &u.stderr
	stdout, err := u.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	u.stdout = bufio.NewReader(stdout)
	if u.stdin, err = u.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := u.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		u.stdin.Close()
		_ = u.command.Wait()
	})
	return u
}

func launchReady(t *testing.T, flags ...string) *upProcess {
	t.Helper()
	assets := os.Getenv(assetsVariable)
	if assets == "" {
		t.Skip(assetsVariable + " is not set; it names the directory that build.sh prints")
	}
	u := launch(t, append([]string{"--assets", assets}, flags...)...)
	line, err := u.stdout.ReadBytes('\n')
	if err != nil {
		_ = u.command.Wait()
		t.Fatalf("not ready: %v: %s", err, u.stderr.String())
	}
	if err := json.Unmarshal(line, &u.report); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	return u
}

func (u *upProcess) signal(signal syscall.Signal) {
	u.t.Helper()
	if err := u.command.Process.Signal(signal); err != nil {
		u.t.Fatal(err)
	}
}

func (u *upProcess) ask(line string) answer {
	u.t.Helper()
	if _, err := fmt.Fprintln(u.stdin, line); err != nil {
		u.t.Fatal(err)
	}
	said, err := u.stdout.ReadBytes('\n')
	if err != nil {
		u.t.Fatalf("no answer to %q: %v", line, err)
	}
	var a answer
	if err := json.Unmarshal(said, &a); err != nil {
		u.t.Fatal(err)
	}
	return a
}

func (u *upProcess) expectDone(line string) {
	u.t.Helper()
	a := u.ask(line)
	if a.Done != line || a.Error != "" {
		u.t.Fatalf("%q was answered with %+v", line, a)
	}
	if started, name, _ := strings.Cut(line, " "); started == "start" {
		u.report.Pids[name] = a.Pid
	}
}

func (u *upProcess) expectRefused(line string) {
	u.t.Helper()
	if a := u.ask(line); a.Error == "" || a.Done != "" {
		u.t.Errorf("%q was answered with %+v", line, a)
	}
}

func (u *upProcess) kubectl(arguments ...string) string {
	u.t.Helper()
	command := exec.Command(filepath.Join(u.report.Assets, "kubectl"), arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+u.report.Kubeconfig)
	output, err := command.CombinedOutput()
	if err != nil {
		u.t.Fatalf("kubectl %s: %v: %s", strings.Join(arguments, " "), err, output)
	}
	return string(output)
}

// healthy asks without credentials, as anybody may.
func (u *upProcess) healthy() error {
	client, err := httpClient(u.read(u.report.CAFile))
	if err != nil {
		return err
	}
	return expectOK(context.Background(), client, u.report.Server+"/readyz")
}

func (u *upProcess) read(path string) []byte {
	u.t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		u.t.Fatal(err)
	}
	return content
}

func (u *upProcess) expectExit(status int) {
	u.t.Helper()
	_ = u.command.Wait()
	if got := u.command.ProcessState.ExitCode(); got != status {
		u.t.Errorf("exit status %d, want %d: %s", got, status, u.stderr.String())
	}
}

func (u *upProcess) expectNoProcess() {
	u.t.Helper()
	for name, pid := range u.report.Pids {
		u.eventually(name+" to be gone", func() bool { return !alive(pid) })
	}
}

func (u *upProcess) expectNothingLeft() {
	u.t.Helper()
	left, err := os.ReadDir(u.temp)
	if err != nil || len(left) > 0 {
		u.t.Errorf("left behind: %v %v", left, err)
	}
}

func (u *upProcess) eventually(what string, holds func() bool) {
	u.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(pollEvery) {
		if holds() {
			return
		}
	}
	u.t.Fatalf("waited in vain for %s", what)
}

// alive does not count a process that is dead and waits for its new parent to notice.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, fields, _ := bytes.Cut(stat, []byte(") "))
	return !bytes.HasPrefix(fields, []byte("Z"))
}
