package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// An idle machine needs three seconds; past two minutes it is not load that keeps it.
	readyWithin = 120 * time.Second
	// Short against a start of seconds, long against the cost of a request on loopback.
	pollEvery = 50 * time.Millisecond
	// Two supervisors that pick the same port twice in a row are rare, five times in a row impossible.
	portAttempts = 5
	// Enough of a log to see a Go panic's first goroutine or a refused flag.
	tailBytes = 6 << 10
)

// component is one program of the control plane and, while it runs, its process.
type component struct {
	name   string
	binary string
	logs   string
	// listens says whether it needs a port. It is picked at the first start and kept by later ones, as the
	// kubeconfigs name it.
	listens   bool
	port      int
	arguments func(port int) []string
	// ready is nil when there is nothing to wait for.
	ready func(ctx context.Context, port int) error

	// running is nil before the start and after an end that was asked for.
	running *process
	// logStart is where the log of the present process begins.
	logStart int64
}

type process struct {
	of    *component
	pid   int
	ended chan struct{}
	// outcome may be read once ended is closed.
	outcome string
}

// supervisor starts processes and notices when one ends. Its methods run on the main goroutine alone, which is
// why there is no lock, and why it must stay so: see init in main.go.
type supervisor struct {
	ctx     context.Context
	members []*component
	exits   chan *process
}

func newSupervisor(ctx context.Context) *supervisor {
	return &supervisor{ctx: ctx, exits: make(chan *process)}
}

// add starts a component for the first time, with another port if somebody was quicker to take the one picked.
func (s *supervisor) add(c *component) error {
	s.members = append(s.members, c)
	for attempt := 1; ; attempt++ {
		if c.listens {
			port, err := freePort()
			if err != nil {
				return err
			}
			c.port = port
		}
		err := s.start(c)
		if err != nil && attempt < portAttempts && bytes.Contains(c.logTail(), []byte("address already in use")) {
			continue
		}
		return err
	}
}

// start launches a component and returns when it is ready.
func (s *supervisor) start(c *component) error {
	if err := s.launch(c); err != nil {
		return fmt.Errorf("%s could not be started: %w", c.name, err)
	}
	if c.ready == nil {
		return nil
	}
	deadline := time.After(readyWithin)
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	var notYet error
	for {
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case p := <-s.exits:
			if err := s.unexpected(p); err != nil {
				return err
			}
		case <-deadline:
			return fmt.Errorf("%s was not ready within %s: %w; the end of its log:\n%s", c.name, readyWithin, notYet, c.logTail())
		case <-poll.C:
			if notYet = c.ready(s.ctx, c.port); notYet == nil {
				return nil
			}
		}
	}
}

func (s *supervisor) launch(c *component) error {
	log, err := os.OpenFile(c.logs, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	if c.logStart, err = log.Seek(0, io.SeekEnd); err != nil {
		return err
	}

	command := exec.Command(c.binary, c.arguments(c.port)...)
	command.Stdout, command.Stderr = log, log
	// Nothing of the caller's environment: etcd takes flags from ETCD_*, and clients take proxies.
	command.Env = []string{"HOME=/nonexistent", "TMPDIR=" + os.TempDir()}
	command.SysProcAttr = &syscall.SysProcAttr{
		// A Ctrl-C in the terminal is for the supervisor, which then ends its children in order.
		Setpgid:   true,
		Pdeathsig: syscall.SIGKILL,
	}
	if err := command.Start(); err != nil {
		return err
	}
	p := &process{of: c, pid: command.Process.Pid, ended: make(chan struct{})}
	c.running = p
	go func() {
		// Wait's error says less than the state.
		_ = command.Wait()
		p.outcome = command.ProcessState.String()
		close(p.ended)
		s.exits <- p
	}()
	return nil
}

// serve obeys commands until it is told to end or a component does so unasked.
func (s *supervisor) serve(commands <-chan string) error {
	for {
		select {
		case <-s.ctx.Done():
			return nil
		case p := <-s.exits:
			if err := s.unexpected(p); err != nil {
				return err
			}
		case line := <-commands:
			answer, err := s.obey(line)
			if err == nil {
				err = say(answer)
			}
			if err != nil {
				return err
			}
		}
	}
}

// unexpected tells a death from an end that was asked for, which has been noted in the component beforehand.
func (s *supervisor) unexpected(p *process) error {
	if p.of.running != p {
		return nil
	}
	p.of.running = nil
	return fmt.Errorf("%s (pid %d) died: %s; the end of its log:\n%s", p.of.name, p.pid, p.outcome, p.of.logTail())
}

// kill ends a component at once, as a crash would, and returns when it has gone.
func (s *supervisor) kill(c *component) {
	p := c.running
	c.running = nil
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// stopAll kills the components, the last started first, so that none logs that another is missing. Nothing they
// hold is wanted any more, and waiting for them to end by themselves costs a test one to three seconds.
func (s *supervisor) stopAll() {
	for _, c := range slices.Backward(s.members) {
		if c.running != nil {
			s.kill(c)
		}
	}
}

func (s *supervisor) pids() map[string]int {
	pids := map[string]int{}
	for _, c := range s.members {
		if c.running != nil {
			pids[c.name] = c.running.pid
		}
	}
	return pids
}

func (p *process) signal(signal syscall.Signal) {
	select {
	case <-p.ended:
		// Its number may belong to someone else by now.
	default:
		_ = syscall.Kill(p.pid, signal)
	}
}

// logTail is the last of what the present process has logged.
func (c *component) logTail() []byte {
	content, err := os.ReadFile(c.logs)
	if err != nil {
		return []byte(err.Error())
	}
	content = content[min(c.logStart, int64(len(content))):]
	content = content[max(0, len(content)-tailBytes):]
	return []byte(strings.TrimRight(string(content), "\n"))
}

// freePort picks a port that is free now; whoever binds it may still come too late. It stays below the range
// from which Linux takes ports for outgoing connections, so that the port of a component that is down for a
// while is not lost to some client.
func freePort() (int, error) {
	var err error
	for range 100 {
		port := 20000 + rand.IntN(10000)
		var listener net.Listener
		if listener, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("no free port on 127.0.0.1: %w", err)
}
