// Command dns is CoreDNS with no more plugins than the cluster of the node tests needs. It has a module of its own, as
// CoreDNS' requirements would raise versions of the control plane's.
package main

import (
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
)

func main() { coremain.Run() }
