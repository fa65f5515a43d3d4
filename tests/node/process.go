package node

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Enough of a log to see a Go panic's first goroutine or a refused flag.
const tailBytes = 4 << 10

// process is a part of the cluster. It runs until the namespaces end; if it ends before, that fails what waits for it.
type process struct {
	name  string
	log   string
	ended chan struct{}
}

// launch starts a program whose output goes to a log of the state directory.
func (c *cluster) launch(name, program string, arguments ...string) {
	c.t.Helper()
	p := &process{name: name, log: filepath.Join(c.logs, name+".log"), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	command := exec.Command(program, arguments...)
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		c.t.Fatalf("%s: %v", name, err)
	}
	c.processes = append(c.processes, p)
	go func() {
		_ = command.Wait()
		close(p.ended)
	}()
}

// dead names the first part that has ended, with the end of its log.
func (c *cluster) dead() error {
	for _, p := range c.processes {
		select {
		case <-p.ended:
			return fmt.Errorf("%s has ended; the end of its log:\n%s", p.name, tail(p.log))
		default:
		}
	}
	return nil
}

// eventually waits until holds returns nil, and no longer than it takes at most.
func (c *cluster) eventually(t *testing.T, what string, atMost time.Duration, holds func() error) {
	t.Helper()
	const between = 250 * time.Millisecond
	tick := time.NewTicker(between)
	defer tick.Stop()
	for deadline := time.Now().Add(atMost); ; <-tick.C {
		err := holds()
		if err == nil {
			return
		}
		if died := c.dead(); died != nil {
			t.Fatalf("while waiting for %s: %v", what, died)
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain for %s: %v", atMost, what, err)
		}
	}
}

func tail(path string) []byte {
	content, err := os.ReadFile(path)
	if err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(content[max(0, len(content)-tailBytes):])
}
