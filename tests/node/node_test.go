package node

import (
	"fmt"
	"testing"
	"time"
)

func TestNode(t *testing.T) {
	c := start(t)
	for _, m := range c.machines {
		c.apply(fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: p-%[1]s, namespace: default}
spec:
  nodeName: %[1]s
  containers: [{name: p, image: localhost/pause:1}]
`, m.name))
	}
	c.eventually(t, "pods", 2*time.Minute, func() error {
		out := c.query("get", "pods", "-o", "wide")
		if c.query("get", "pods", `--output=jsonpath={.items[*].status.phase}`) != "Running Running" {
			return fmt.Errorf("%s\n%s", out, c.query("describe", "pods"))
		}
		t.Log(out)
		return nil
	})
	t.Log(c.kubectl(t, "get", "nodes", "-o", "wide"))
	t.Log(c.kubectl(t, "get", "svc,endpointslices", "-A"))
}
