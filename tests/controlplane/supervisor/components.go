package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The controllers that a namespaced API, its RBAC and an installed chart meet. The others wait for nodes, volumes
// or a cloud, and each costs start-up time and memory.
var controllers = []string{
	"namespace-controller",
	"garbage-collector-controller",
	"serviceaccount-controller",
	"serviceaccount-token-controller",
	"root-ca-certificate-publisher-controller",
	"clusterrole-aggregation-controller",
	"deployment-controller",
	"replicaset-controller",
	"job-controller",
	"endpointslice-controller",
	"disruption-controller",
	"resourcequota-controller",
	"service-cidr-controller",
}

// What a node needs beside them: its taints follow its state, and what ran on one that has gone is cleaned up.
var nodeControllers = []string{
	"node-lifecycle-controller",
	"taint-eviction-controller",
	"pod-garbage-collector-controller",
}

const (
	loopback = "127.0.0.1"
	// Of services; the first address is the API server's own.
	serviceRange   = "10.0.0.0/24"
	serviceAddress = "10.0.0.1"

	auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`
)

// controlPlane is what the components share while they are put together.
type controlPlane struct {
	supervisor *supervisor
	options    options
	dir        string
	logs       string
	authority  *authority
	files      files
	// client is the admin's.
	client *http.Client

	etcdURL, serverURL string
	auditLog           *string
}

// files are the paths of what the components read.
type files struct {
	ca, serverCertificate, serverKey, signingKey, auditPolicy, kubeletClientCertificate, kubeletClientKey string
}

// startControlPlane starts the components in the order in which they need one another and returns when a client
// can work.
func startControlPlane(s *supervisor, o options, dir string) (*ready, error) {
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	admin, err := ca.client("controlplane-admin", "system:masters")
	if err != nil {
		return nil, err
	}
	client, err := httpClient(ca.pem, admin)
	if err != nil {
		return nil, err
	}
	files, err := writeFiles(ca, dir, o.address)
	if err != nil {
		return nil, err
	}
	c := &controlPlane{supervisor: s, options: o, dir: dir, logs: filepath.Join(dir, "logs"), authority: ca, files: files, client: client}
	if err := os.Mkdir(c.logs, 0o700); err != nil {
		return nil, err
	}

	if err := c.startEtcd(); err != nil {
		return nil, err
	}
	if err := c.startAPIServer(); err != nil {
		return nil, err
	}
	kubeconfig, err := c.writeKubeconfig("kubeconfig", admin)
	if err != nil {
		return nil, err
	}
	if err := c.startControllerManager(); err != nil {
		return nil, err
	}
	if o.scheduler {
		if err := c.startScheduler(); err != nil {
			return nil, err
		}
	}
	nodes, proxy, err := c.writeNodeKubeconfigs()
	if err != nil {
		return nil, err
	}
	return &ready{
		Nodes:      nodes,
		Proxy:      proxy,
		Kubeconfig: kubeconfig,
		Server:     c.serverURL,
		CAFile:     files.ca,
		AuditLog:   c.auditLog,
		Assets:     o.assets,
		Pids:       s.pids(),
		Logs:       c.logs,
	}, nil
}

func (c *controlPlane) startEtcd() error {
	etcd := c.component("etcd")
	etcd.listens = true
	etcd.arguments = func(port int) []string { return etcdArguments(port, filepath.Join(c.dir, "etcd")) }
	etcd.ready = func(ctx context.Context, port int) error {
		return expectOK(ctx, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/health", port))
	}
	err := c.supervisor.add(etcd)
	c.etcdURL = fmt.Sprintf("http://127.0.0.1:%d", etcd.port)
	return err
}

func (c *controlPlane) startAPIServer() error {
	apiserver := c.component("kube-apiserver")
	if c.options.audit {
		path := filepath.Join(c.logs, "audit.jsonl")
		c.auditLog = &path
	}
	apiserver.listens = true
	url := func(port int) string { return "https://" + net.JoinHostPort(c.options.address, strconv.Itoa(port)) }
	apiserver.arguments = func(port int) []string {
		return apiserverArguments(c.options.address, port, c.etcdURL, c.files, c.auditLog)
	}
	apiserver.ready = func(ctx context.Context, port int) error { return expectOK(ctx, c.client, url(port)+"/readyz") }
	err := c.supervisor.add(apiserver)
	c.serverURL = url(apiserver.port)
	return err
}

func (c *controlPlane) startControllerManager() error {
	manager := c.component("kube-controller-manager")
	if _, err := os.Stat(manager.binary); os.IsNotExist(err) {
		// The assets that envtest downloads hold none. Much can be tested without.
		return nil
	}
	kubeconfig, err := c.kubeconfigFor(manager)
	if err != nil {
		return err
	}
	wanted := controllers
	if len(c.options.nodes) > 0 {
		wanted = slices.Concat(controllers, nodeControllers)
	}
	manager.arguments = func(int) []string { return controllerManagerArguments(kubeconfig, wanted, c.files) }
	// It serves nothing that could be asked. That the first thing it makes is there shows that it works.
	manager.ready = func(ctx context.Context, _ int) error {
		return expectOK(ctx, c.client, c.serverURL+"/api/v1/namespaces/default/serviceaccounts/default")
	}
	return c.supervisor.add(manager)
}

func (c *controlPlane) startScheduler() error {
	scheduler := c.component("kube-scheduler")
	kubeconfig, err := c.kubeconfigFor(scheduler)
	if err != nil {
		return err
	}
	scheduler.arguments = func(int) []string { return schedulerArguments(kubeconfig) }
	return c.supervisor.add(scheduler)
}

// writeNodeKubeconfigs makes those of the kubelets and of kube-proxy, by whose names Kubernetes' node authorizer and
// built-in roles know them.
func (c *controlPlane) writeNodeKubeconfigs() (nodes map[string]string, proxy string, err error) {
	if len(c.options.nodes) == 0 {
		return nil, "", nil
	}
	nodes = map[string]string{}
	for _, name := range c.options.nodes {
		kubelet, err := c.authority.client("system:node:"+name, "system:nodes")
		if err != nil {
			return nil, "", err
		}
		if nodes[name], err = c.writeKubeconfig("node-"+name+".kubeconfig", kubelet); err != nil {
			return nil, "", err
		}
	}
	user, err := c.authority.client("system:kube-proxy")
	if err != nil {
		return nil, "", err
	}
	proxy, err = c.writeKubeconfig("kube-proxy.kubeconfig", user)
	return nodes, proxy, err
}

func (c *controlPlane) component(name string) *component {
	return &component{
		name:   name,
		binary: filepath.Join(c.options.assets, name),
		logs:   filepath.Join(c.logs, name+".log"),
	}
}

// kubeconfigFor is that of a component's own user, whom Kubernetes' built-in roles name.
func (c *controlPlane) kubeconfigFor(of *component) (string, error) {
	user, err := c.authority.client("system:" + of.name)
	if err != nil {
		return "", err
	}
	return c.writeKubeconfig(of.name+".kubeconfig", user)
}

func (c *controlPlane) writeKubeconfig(name string, user identity) (string, error) {
	path := filepath.Join(c.dir, name)
	return path, os.WriteFile(path, kubeconfig(c.serverURL, c.authority.pem, user), 0o600)
}

func writeFiles(ca *authority, dir, address string) (files, error) {
	f := files{
		kubeletClientCertificate: filepath.Join(dir, "kubelet-client.crt"),
		kubeletClientKey:         filepath.Join(dir, "kubelet-client.key"),
		ca:                       filepath.Join(dir, "ca.crt"),
		serverCertificate:        filepath.Join(dir, "apiserver.crt"),
		serverKey:                filepath.Join(dir, "apiserver.key"),
		signingKey:               filepath.Join(dir, "service-account.key"),
		auditPolicy:              filepath.Join(dir, "audit-policy.yaml"),
	}
	server, err := ca.server("kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local", "localhost", loopback, address, serviceAddress)
	if err != nil {
		return f, err
	}
	// What the API server shows a kubelet of which it wants a log: the user and group of kubeadm's clusters.
	kubelets, err := ca.client("kube-apiserver-kubelet-client", "system:masters")
	if err != nil {
		return f, err
	}
	tokens, err := signingKey()
	if err != nil {
		return f, err
	}
	for path, content := range map[string][]byte{
		f.ca:                       ca.pem,
		f.serverCertificate:        server.certificate,
		f.serverKey:                server.key,
		f.signingKey:               tokens,
		f.auditPolicy:              []byte(auditPolicy),
		f.kubeletClientCertificate: kubelets.certificate,
		f.kubeletClientKey:         kubelets.key,
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return f, err
		}
	}
	return f, nil
}

func etcdArguments(port int, data string) []string {
	client := fmt.Sprintf("http://127.0.0.1:%d", port)
	// A member without peers dials nobody: any port does, and the advertised one need not be it.
	const advertisedPeer = "http://127.0.0.1:2380"
	return []string{
		"--data-dir=" + data,
		"--listen-client-urls=" + client,
		"--advertise-client-urls=" + client,
		"--listen-peer-urls=http://127.0.0.1:0",
		"--initial-advertise-peer-urls=" + advertisedPeer,
		"--initial-cluster=default=" + advertisedPeer,
		// The data survives a killed etcd, which is all a test asks, not a lost machine.
		"--unsafe-no-fsync",
	}
}

func apiserverArguments(address string, port int, etcdURL string, f files, auditLog *string) []string {
	arguments := []string{
		"--bind-address=" + address,
		"--advertise-address=" + address,
		fmt.Sprintf("--secure-port=%d", port),
		"--etcd-servers=" + etcdURL,
		"--tls-cert-file=" + f.serverCertificate,
		"--tls-private-key-file=" + f.serverKey,
		"--client-ca-file=" + f.ca,
		"--authorization-mode=Node,RBAC",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-signing-key-file=" + f.signingKey,
		"--service-account-key-file=" + f.signingKey,
		"--service-cluster-ip-range=" + serviceRange,
		// As clusters have it: whether a Pod may be privileged is for Pod Security to say.
		"--allow-privileged=true",
		"--kubelet-client-certificate=" + f.kubeletClientCertificate,
		"--kubelet-client-key=" + f.kubeletClientKey,
		// The test's nodes have addresses and no names that anyone could resolve.
		"--kubelet-preferred-address-types=InternalIP",
	}
	if net.ParseIP(address).IsLoopback() {
		// Such an address is not allowed as an endpoint of the service "kubernetes".
		arguments = append(arguments, "--endpoint-reconciler-type=none")
	}
	if auditLog != nil {
		arguments = append(arguments, "--audit-policy-file="+f.auditPolicy, "--audit-log-path="+*auditLog)
	}
	return arguments
}

func controllerManagerArguments(kubeconfig string, controllers []string, f files) []string {
	return []string{
		"--kubeconfig=" + kubeconfig,
		"--controllers=" + strings.Join(controllers, ","),
		"--service-account-private-key-file=" + f.signingKey,
		"--root-ca-file=" + f.ca,
		// Each controller acts by the role Kubernetes gives it; the manager's own role covers next to nothing.
		"--use-service-account-credentials",
		"--leader-elect=false",
		// Serve nothing.
		"--secure-port=0",
		// The default, 20 a second, is for a shared API server; a test waits for what it delays.
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
	}
}

func schedulerArguments(kubeconfig string) []string {
	return []string{"--kubeconfig=" + kubeconfig, "--leader-elect=false", "--secure-port=0"}
}

// httpClient is anonymous if it is nobody's. It trusts the one authority, so that no other server on the same port
// is taken for ours.
func httpClient(ca []byte, users ...identity) (*http.Client, error) {
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(ca)
	for _, user := range users {
		certificate, err := tls.X509KeyPair(user.certificate, user.key)
		if err != nil {
			return nil, err
		}
		config.Certificates = append(config.Certificates, certificate)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config}}, nil
}

func expectOK(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, response.Status)
	}
	return nil
}
