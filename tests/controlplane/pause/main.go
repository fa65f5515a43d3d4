// Command pause holds a Pod's namespaces: it sleeps until it is told to end. It is what the nodes of ../../node have as
// their sandbox image, as no registry is at hand there.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
}
