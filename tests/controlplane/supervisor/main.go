// Command controlplane runs a Kubernetes control plane on loopback for as long as someone wants it: etcd,
// kube-apiserver and, where the binaries are there, kube-controller-manager and kube-scheduler. For tests that have
// nodes, the API server takes an address that Pods can reach, and each node its kubeconfig.
//
// Role: the process between a test (or a person with a demo) and the components. It makes the keys, picks the
// ports, says when the API server can be used, breaks components on command, and leaves nothing behind, even
// when it or its parent is killed.
//
// Limits: the standard library and Linux only, so that it compiles in seconds and works with any directory of
// Kubernetes binaries. It knows nothing of the operator. What it starts is for tests: etcd does not sync to disk
// and asks no one on this machine for a password.
//
// File map: main.go is the program from flags to exit; supervisor.go keeps processes; components.go is what is
// started with which flags; commands.go is what standard input may ask; pki.go issues keys; statedir.go owns the
// directory.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

const usage = `usage: controlplane up [flags]

Starts a control plane on 127.0.0.1, prints one line of JSON that says where it is, and keeps it until
SIGTERM or SIGINT.

`

type options struct {
	assets           string
	dir              string
	audit            bool
	scheduler        bool
	untilStdinCloses bool
	address          string
	nodes            names
}

// names is a flag that may be given several times.
type names []string

func (n *names) String() string { return strings.Join(*n, ",") }

func (n *names) Set(name string) error {
	*n = append(*n, name)
	return nil
}

// ready is the line on standard output that tells the caller it may begin.
type ready struct {
	Kubeconfig string         `json:"kubeconfig"`
	Server     string         `json:"server"`
	CAFile     string         `json:"caFile"`
	AuditLog   *string        `json:"auditLog"`
	Assets     string         `json:"assets"`
	Pids       map[string]int `json:"pids"`
	Logs       string         `json:"logs"`
	// Nodes are kubelets' kubeconfigs by the name of the node, and Proxy is kube-proxy's; absent without --node.
	Nodes map[string]string `json:"nodes,omitempty"`
	Proxy string            `json:"proxy,omitempty"`
}

func init() {
	// Children carry a parent-death signal, and Linux sends it when the *thread* that started them ends. The main
	// goroutine is tied to the main thread, which lives as long as the process, and starts every child.
	runtime.LockOSThread()
}

func main() {
	options, err := parse(os.Args[1:])
	if err == nil {
		err = up(options)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
}

func parse(arguments []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("controlplane up", flag.ContinueOnError)
	flags.StringVar(&o.assets, "assets", "", "directory with etcd, kube-apiserver, … (default: this program's own)")
	flags.StringVar(&o.dir, "dir", "", "empty directory for keys, data and logs, kept at exit (default: a temporary one, removed)")
	flags.BoolVar(&o.audit, "audit", false, "have the API server log every request at level Metadata")
	flags.BoolVar(&o.scheduler, "scheduler", false, "run kube-scheduler too")
	flags.BoolVar(&o.untilStdinCloses, "until-stdin-closes", false,
		"also end when standard input does, and obey its lines: stop|cont|kill|start COMPONENT")
	flags.StringVar(&o.address, "address", loopback,
		"address of this machine that the API server binds and Pods are told; any but loopback is for a network namespace of your own")
	flags.Var(&o.nodes, "node", "name of a node to come: write kubeconfigs for it, and run the controllers nodes need (repeatable)")
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}

	if len(arguments) == 0 || arguments[0] != "up" {
		flags.Usage()
		return o, flag.ErrHelp
	}
	if err := flags.Parse(arguments[1:]); err != nil {
		// The flag set has printed what is wrong.
		return o, flag.ErrHelp
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if net.ParseIP(o.address) == nil {
		return o, fmt.Errorf("--address %q is no IP address", o.address)
	}
	if o.assets == "" {
		self, err := os.Executable()
		if err != nil {
			return o, err
		}
		o.assets = filepath.Dir(self)
	}
	var err error
	o.assets, err = filepath.Abs(o.assets)
	return o, err
}

// up is the program: start, report, obey until told to end, clean up.
func up(o options) error {
	// SIGPIPE counts as "end": whoever read our output has gone.
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	defer cancel()
	var commands <-chan string
	if o.untilStdinCloses {
		commands = lines(os.Stdin, cancel)
	}

	dir, remove, err := stateDir(o.dir)
	if err != nil {
		return err
	}
	defer remove()

	s := newSupervisor(ctx)
	defer s.stopAll()
	report, err := startControlPlane(s, o, dir)
	if err == nil {
		err = say(report)
	}
	if err == nil {
		err = s.serve(commands)
	}
	if ctx.Err() != nil {
		// Told to end: whatever was interrupted by that is no failure.
		return nil
	}
	return err
}

// lines hands over what r says line by line and calls atEnd when r does, even if nobody takes the lines.
func lines(r io.Reader, atEnd func()) <-chan string {
	said := make(chan string, 16)
	go func() {
		defer atEnd()
		scanner := bufio.NewScanner(r)
		for scanner.Scan() {
			said <- scanner.Text()
		}
	}()
	return said
}

// say prints one line of JSON on standard output.
func say(value any) error {
	return json.NewEncoder(os.Stdout).Encode(value)
}
