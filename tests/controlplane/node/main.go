// Command node is kubelet and kube-proxy in one program, compiled from their own published modules.
//
// Role: what a machine needs beside a container runtime to be a node, for the tests that run Pods. It is called
// through a symlink named after the component, or with the component as first argument. It is a program of its own,
// apart from ../kubernetes, because most tests need no node and should not pay for its build.
//
// Limits: as ../kubernetes, it adds nothing to a component and chooses no flag.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	// Linked in by the upstream main packages for their side effects.
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"

	"k8s.io/component-base/cli"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// Each entry runs its component to its end. It reads os.Args itself, as upstream's own main does.
var components = map[string]func(){
	"kubelet":    func() { os.Exit(cli.Run(kubelet.NewKubeletCommand(context.Background()))) },
	"kube-proxy": func() { os.Exit(cli.Run(proxy.NewProxyCommand())) },
}

func main() {
	run, known := components[filepath.Base(os.Args[0])]
	if !known && len(os.Args) > 1 {
		run, known = components[os.Args[1]]
		os.Args = os.Args[1:]
	}
	if !known {
		fmt.Fprintln(os.Stderr, "usage: node kubelet|kube-proxy [flags]")
		os.Exit(2)
	}
	run()
}
