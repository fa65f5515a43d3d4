package node

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	// Where the simulator is, and by that name the domain of UKG Pro's stand-in.
	simulatorNamespace = "simulator"
	domain             = simulatorNamespace + ".svc.cluster.local"
	subdomain          = "service4"
	fleetNamespace     = "hr-integrations"
	fleetSize          = 200
	// The longest there is: what is checked while a test looks on is checked for another reason.
	interval = 24 * time.Hour
	// A connection of its own for asking whether an operator works, so that nothing is asked of the fleet.
	canary = "canary"
)

// want is the verdict of the fleet's connection of that number: of ten, six are well, two lack a permission, one has an
// old password, and one a host that nobody has.
func want(number int) string {
	switch number % 10 {
	case 6, 7:
		return "Forbidden"
	case 8:
		return "Unauthorized"
	case 9:
		return "Unreachable"
	default:
		return "Active"
	}
}

func fleetName(number int) string { return fmt.Sprintf("fleet-%03d", number) }

// startSimulator runs the image of ukgpro-simulator as a Pod and returns the certificate of its authority.
func (c *cluster) startSimulator(t *testing.T, image string) string {
	t.Helper()
	var accounts strings.Builder
	account := func(name string) {
		fmt.Fprintf(&accounts, "          - {username: svc-%[1]s, password: \"pass-%[1]s!\", userApiKey: KEY-%[1]s, permissions: [EmployeePersonDetails, EmployeeJobDetails]}\n", name)
	}
	for number := range fleetSize {
		account(fleetName(number))
	}
	account(canary)
	c.apply(fmt.Sprintf(`apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: tenants, namespace: %[1]s}
data:
  tenants.yaml: |
    tenants:
      - name: acme
        hosts: [%[2]s.%[3]s]
        customerApiKey: ACME1
        accounts:
%[4]s---
apiVersion: v1
kind: Service
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  selector: {app: simulator}
  ports: [{name: https, port: 443, targetPort: https}]
---
# No Deployment: it keeps its counters and its authority in memory, and the drains are not to move it.
apiVersion: v1
kind: Pod
metadata: {name: simulator, namespace: %[1]s, labels: {app: simulator}}
spec:
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: simulator
      image: %[5]s
      args: [--config=/etc/simulator/tenants.yaml, --listen=0.0.0.0:8443, --admin-listen=0.0.0.0:8081, --log=warn]
      ports: [{name: https, containerPort: 8443}, {name: admin, containerPort: 8081}]
      readinessProbe: {httpGet: {path: /healthz, port: admin}, periodSeconds: 1}
      securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
      volumeMounts: [{name: tenants, mountPath: /etc/simulator}]
  volumes: [{name: tenants, configMap: {name: tenants}}]
`, simulatorNamespace, subdomain, domain, accounts.String(), image))
	c.kubectl(t, "wait", "--namespace", simulatorNamespace, "--for=condition=Ready", "pod/simulator", "--timeout=120s")
	return c.askSimulator(t, "ca.pem")
}

// askSimulator reads from its control API, by way of the API server.
func (c *cluster) askSimulator(t *testing.T, path string) string {
	t.Helper()
	return c.kubectl(t, "get", "--raw", "/api/v1/namespaces/"+simulatorNamespace+"/pods/simulator:8081/proxy/"+path)
}

// logins counts what the simulator has seen of each account.
func (c *cluster) logins(t *testing.T) map[string]int {
	t.Helper()
	var counters struct {
		Logins map[string]struct {
			Attempts int `json:"attempts"`
		} `json:"logins"`
	}
	if err := json.Unmarshal([]byte(c.askSimulator(t, "counters")), &counters); err != nil {
		t.Fatal(err)
	}
	logins := map[string]int{}
	for name, of := range counters.Logins {
		logins[strings.TrimPrefix(name, "svc-")] = of.Attempts
	}
	return logins
}

// startFleet applies the connections, each with a Secret of its own.
func (c *cluster) startFleet(ca string) {
	var manifests strings.Builder
	fmt.Fprintf(&manifests, `apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: simulator-ca, namespace: %[1]s}
data: {ca.crt: %[2]q}
`, fleetNamespace, ca)
	add := func(name, password, subdomain, permissions string) {
		fmt.Fprintf(&manifests, `---
apiVersion: v1
kind: Secret
metadata: {name: %[1]s, namespace: %[2]s}
stringData: {username: svc-%[1]s, password: %[3]q, customerApiKey: ACME1, userApiKey: KEY-%[1]s}
---
apiVersion: ukgpro.dev/v1alpha1
kind: UkgProConnection
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  secretRef: {name: %[1]s}
  domain: %[4]s
  subdomain: %[5]s
  caRef: {name: simulator-ca}
  interval: %[6]s
  permissions: [%[7]s]
`, name, fleetNamespace, password, domain, subdomain, interval, permissions)
	}
	const held = "{name: EmployeePersonDetails}, {name: EmployeeJobDetails}"
	for number := range fleetSize {
		name := fleetName(number)
		password, subdomain, permissions := "pass-"+name+"!", subdomain, held
		switch want(number) {
		case "Forbidden":
			permissions += ", {name: EmployeePayStatement}"
		case "Unauthorized":
			password = "last-years"
		case "Unreachable":
			subdomain = "nobody"
		}
		add(name, password, subdomain, permissions)
	}
	add(canary, "pass-"+canary+"!", subdomain, held)
	c.apply(manifests.String())
}

// connection is what Kubernetes stores of one, to be compared to the byte.
type connection struct {
	Metadata struct {
		Name            string `json:"name"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Status json.RawMessage `json:"status"`
}

func (c connection) status() (status struct {
	State      string `json:"state"`
	Reconciled string `json:"lastHandledReconcileAt"`
}) {
	_ = json.Unmarshal(c.Status, &status)
	return status
}

// fleet reads every connection but the canary.
func (c *cluster) fleet(t *testing.T) map[string]connection {
	t.Helper()
	var list struct {
		Items []connection `json:"items"`
	}
	said := c.kubectl(t, "get", "ukgproconnections", "--namespace", fleetNamespace, "--output=json")
	if err := json.Unmarshal([]byte(said), &list); err != nil {
		t.Fatal(err)
	}
	fleet := map[string]connection{}
	for _, item := range list.Items {
		if item.Metadata.Name != canary {
			fleet[item.Metadata.Name] = item
		}
	}
	return fleet
}

// expectVerdicts waits until each connection has the verdict it was made for.
func (c *cluster) expectVerdicts(t *testing.T) {
	t.Helper()
	c.eventually(t, "the fleet's verdicts", 3*time.Minute, func() error {
		fleet := c.fleet(t)
		var wrong []string
		for number := range fleetSize {
			name := fleetName(number)
			if state := fleet[name].status().State; state != want(number) {
				wrong = append(wrong, fmt.Sprintf("%s is %q, not %s", name, state, want(number)))
			}
		}
		if len(wrong) > 0 {
			return fmt.Errorf("%d of %d have another: %s", len(wrong), fleetSize, strings.Join(wrong[:min(3, len(wrong))], "; "))
		}
		return nil
	})
}

// expectCheck asks for a check of the canary and waits for its receipt: some operator acts.
func (c *cluster) expectCheck(t *testing.T) time.Duration {
	t.Helper()
	asked := time.Now()
	token := asked.UTC().Format(time.RFC3339Nano)
	c.kubectl(t, "annotate", "--overwrite", "--namespace", fleetNamespace, "ukgproconnection/"+canary, "reconcile.fluxcd.io/requestedAt="+token)
	c.eventually(t, "a check that was asked for", 90*time.Second, func() error {
		var now connection
		said := c.query("get", "ukgproconnection", canary, "--namespace", fleetNamespace, "--output=json")
		if err := json.Unmarshal([]byte(said), &now); err != nil {
			return err
		}
		if status := now.status(); status.Reconciled != token || status.State != "Active" {
			return fmt.Errorf("its status is %s", now.Status)
		}
		return nil
	})
	return time.Since(asked)
}

// standing is the fleet and what was sent for it at a moment.
type standing struct {
	at     time.Time
	fleet  map[string]connection
	logins map[string]int
}

func (c *cluster) standing(t *testing.T) standing {
	t.Helper()
	return standing{at: time.Now(), fleet: c.fleet(t), logins: c.logins(t)}
}

// expectUnmoved holds that since then nothing of the fleet was written, and nothing sent but what was due anyway.
func (c *cluster) expectUnmoved(t *testing.T, before standing) {
	t.Helper()
	after := c.standing(t)
	for name, was := range before.fleet {
		is, there := after.fleet[name]
		switch {
		case !there:
			t.Errorf("%s is gone", name)
		case string(is.Status) != string(was.Status):
			t.Errorf("%s had the status\n%s\nand has\n%s", name, was.Status, is.Status)
		case is.Metadata.ResourceVersion != was.Metadata.ResourceVersion:
			t.Errorf("%s was written, though its status is the same", name)
		}
	}
	var more int
	for name, logins := range after.logins {
		if name == canary {
			continue
		}
		if new := logins - before.logins[name]; new > 1 {
			t.Errorf("%s has logged in %d times", name, new)
		} else {
			more += new
		}
	}
	// A day's checks are spread over the day, by each operator anew.
	elapsed := after.at.Sub(before.at)
	due := 2 + int(2*fleetSize*elapsed/interval)
	t.Logf("in %s, %[3]d of %[2]d accounts logged in", elapsed.Round(time.Second), len(after.logins), more)
	if more > due {
		t.Errorf("%d logins, where at most %d were due", more, due)
	}
}
