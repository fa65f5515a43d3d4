package node

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// kubectl runs as the admin; that it fails fails the test.
func (c *cluster) kubectl(t *testing.T, arguments ...string) string {
	t.Helper()
	output, err := c.command(filepath.Join(c.settings.assets, "kubectl"), arguments...)
	if err != nil {
		t.Fatalf("kubectl %s: %v", strings.Join(arguments, " "), err)
	}
	return output
}

// query is kubectl where that it fails means that there is nothing yet.
func (c *cluster) query(arguments ...string) string {
	output, _ := c.command(filepath.Join(c.settings.assets, "kubectl"), arguments...)
	return output
}

func (c *cluster) helm(t *testing.T, arguments ...string) string {
	t.Helper()
	output, err := c.command(c.settings.helm, arguments...)
	if err != nil {
		t.Fatalf("helm %s: %v", strings.Join(arguments, " "), err)
	}
	return output
}

// command returns what a program says on standard output, and what it says on standard error if it fails.
func (c *cluster) command(program string, arguments ...string) (string, error) {
	return c.commandWith(nil, program, arguments...)
}

func (c *cluster) commandWith(stdin []byte, program string, arguments ...string) (string, error) {
	command := exec.Command(program, arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+c.report.Kubeconfig, "HOME="+c.settings.state)
	command.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	stdout, err := command.Output()
	if err != nil {
		return string(stdout), fmt.Errorf("%w: %s%s", err, stdout, stderr.Bytes())
	}
	return string(stdout), nil
}

// apply applies manifests.
func (c *cluster) apply(manifests string) {
	c.t.Helper()
	if _, err := c.commandWith([]byte(manifests), filepath.Join(c.settings.assets, "kubectl"), "apply", "--server-side", "--filename=-"); err != nil {
		c.t.Fatalf("kubectl apply: %v", err)
	}
}
