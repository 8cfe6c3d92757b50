package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"hmco-boot/k3s-standin/internal/faults"
	"hmco-boot/k3s-standin/internal/kubelet"
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
	"hmco-boot/k3s-standin/internal/version"
)

// refresh is how often an agent asks for the list of servers.
const refresh = 10 * time.Second

// agent is a node that has joined or is about to.
type agent struct {
	o       Options
	j       *joiner
	config  clusterConfig
	lb      *balancer // nil on servers
	tunnels tunnels
}

// Run runs the node until ctx ends. An error that ends it is fatal for the process.
func Run(ctx context.Context, o Options) error {
	a := &agent{o: o}
	password, err := ownPassword(paths.NodePassword)
	if err != nil {
		return err
	}
	server := o.Server
	if !o.ControlPlane {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(o.Config.LBServerPort))
		a.lb, err = startBalancer(ctx, address, o.Server, o.Paths.Agent("etc", balancerName+".json"))
		if err != nil {
			return err
		}
		server = "https://" + address
	}
	a.j = &joiner{server: server, token: o.Token, paths: o.Paths, node: o.Config.NodeName, ip: o.Config.NodeIP, password: password}
	a.tunnels.j = a.j
	a.config, err = a.j.join(ctx)
	if err != nil {
		return err
	}
	if err := a.prepare(ctx); err != nil {
		return err
	}
	return a.run(ctx)
}

// prepare writes the agent's files, keeps its addresses on the machine and
// waits for an apiserver.
func (a *agent) prepare(ctx context.Context) error {
	etc := os.FileMode(0o700)
	if a.lb != nil {
		etc = 0o755
	}
	if err := writeFiles(a.o.Paths, a.config, a.j.server, etc); err != nil {
		return err
	}
	if err := a.keepLocal(); err != nil {
		return err
	}
	a.announceRuntime()
	if a.o.APIReady != nil {
		select {
		case <-ctx.Done():
			return nil
		case <-a.o.APIReady:
		}
	}
	if err := a.j.reload(); err != nil {
		return err
	}
	return a.findServers(ctx)
}

// keepLocal sees to it that nothing that is sent to pods and services leaves the machine.
func (a *agent) keepLocal() error {
	for _, cidr := range strings.Split(a.config.ClusterCIDR, ",") {
		if err := kubelet.KeepLocal(cidr); err != nil {
			return err
		}
	}
	for _, cidr := range strings.Split(a.config.ServiceCIDR, ",") {
		if err := kubelet.KeepUnreachable(cidr); err != nil {
			return err
		}
	}
	return nil
}

// announceRuntime prints what K3s prints about its container runtime.
func (a *agent) announceRuntime() {
	for _, module := range []string{"overlay", "nf_conntrack"} {
		if _, err := os.Stat(filepath.Join("/sys/module", module)); err != nil {
			logx.Warnf("Failed to load kernel module %s with modprobe", module)
		}
	}
	logx.Infof("Logging containerd to %s", a.o.Paths.Agent("containerd", "containerd.log"))
	logx.Infof("Running containerd -c %s", a.o.Paths.Agent("etc", "containerd", "config.toml"))
	logx.Infof("containerd is now running")
}

// findServers asks for the apiservers' addresses until there is an answer, and keeps asking in the background.
func (a *agent) findServers(ctx context.Context) error {
	logx.Infof("Getting list of apiserver endpoints from server")
	for {
		list, err := a.j.servers(ctx)
		if err == nil {
			logx.Infof("Got apiserver addresses from supervisor: %v", list)
			a.use(ctx, list)
			logx.Infof("Creating k3s-cert-monitor event broadcaster")
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		logx.Infof("Failed to retrieve list of apiservers from server: %v", err)
		if sleep(ctx, time.Second) != nil {
			return nil
		}
	}
	go func() {
		for sleep(ctx, refresh) == nil {
			if list, err := a.j.servers(ctx); err == nil {
				a.use(ctx, list)
			}
		}
	}()
	return nil
}

func (a *agent) use(ctx context.Context, list []string) {
	if a.lb != nil {
		a.lb.Set(list)
	}
	a.tunnels.set(ctx, list)
}

// run runs the kubelet.
func (a *agent) run(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil
	}
	client, err := kubernetes.NewForConfig(a.restConfig("client-kubelet"))
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(a.o.Paths.Agent("client-ca.crt"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	labels, err := pairs(a.o.Config.NodeLabels)
	if err != nil {
		return err
	}
	taints, err := taintsOf(a.o.Config.NodeTaints)
	if err != nil {
		return err
	}
	options := kubelet.Options{
		Name: a.j.node, IP: a.j.ip, Client: client, Version: version.Version, Labels: labels, Taints: taints,
		Annotations: a.annotations, Reboot: rebooted(), Listen: ":10250", ClientCA: pool, Timings: kubelet.DefaultTimings(),
		Now: faults.Now, Images: faults.Image, Log: logx.Errorf, Registered: a.registered,
		Certificate: func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(a.o.Paths.Agent("serving-kubelet.crt"), a.o.Paths.Agent("serving-kubelet.key"))
			return &pair, err
		},
	}
	if err := a.role(ctx, &options); err != nil {
		return err
	}
	a.announceKubelet()
	if err := kubelet.Run(ctx, options); err != nil {
		return fmt.Errorf("kubelet exited: %w", err)
	}
	return nil
}

// role adds what only a server's node has.
func (a *agent) role(ctx context.Context, options *kubelet.Options) error {
	if !a.o.ControlPlane {
		return nil
	}
	options.RoleLabels = map[string]string{
		"node-role.kubernetes.io/control-plane": "true", "node-role.kubernetes.io/master": "true",
	}
	if a.o.Etcd {
		options.RoleLabels["node-role.kubernetes.io/etcd"] = "true"
	}
	admin, err := kubernetes.NewForConfig(&rest.Config{
		Host: a.j.server, QPS: 50, Burst: 100,
		TLSClientConfig: rest.TLSClientConfig{
			CAFile: a.o.Paths.TLS("server-ca.crt"), CertFile: a.o.Paths.TLS("client-supervisor.crt"), KeyFile: a.o.Paths.TLS("client-supervisor.key"),
		},
	})
	if err != nil {
		return err
	}
	options.Admin = admin
	go a.ownSecret(ctx, admin)
	return nil
}

// ownSecret makes the Secret of the server's own node, whose password was verified by its file. After a cluster-reset it
// is taken away and comes again only some seconds after the start (package snapshot).
func (a *agent) ownSecret(ctx context.Context, admin kubernetes.Interface) {
	if _, err := os.Stat(a.o.Paths.ResetFlag()); err == nil {
		return
	}
	for ctx.Err() == nil {
		if err := ensurePassword(ctx, admin, a.j.node, a.j.password, true); err == nil {
			return
		}
		_ = sleep(ctx, time.Second)
	}
}

func (a *agent) restConfig(name string) *rest.Config {
	return &rest.Config{
		Host: a.j.server, QPS: 50, Burst: 100,
		TLSClientConfig: rest.TLSClientConfig{
			CAFile: a.o.Paths.Agent("server-ca.crt"), CertFile: a.o.Paths.Agent(name + ".crt"), KeyFile: a.o.Paths.Agent(name + ".key"),
		},
	}
}

func (a *agent) announceKubelet() {
	args := append([]string{}, a.o.Config.KubeletArgs...)
	args = append(args, "cloud-provider=external", "config-dir="+a.o.Paths.Agent("etc", "kubelet.conf.d"),
		"containerd=/run/k3s/containerd/containerd.sock", "hostname-override="+a.j.node, "kubeconfig="+a.o.Paths.Agent("kubelet.kubeconfig"),
		"node-ip="+a.j.ip, "node-labels="+strings.Join(a.o.Config.NodeLabels, ","))
	logx.Infof("Running kubelet --%s", strings.Join(args, " --"))
	logx.Infof("Running kube-proxy --cluster-cidr=%s --conntrack-max-per-core=0 --conntrack-tcp-timeout-close-wait=0s "+
		"--conntrack-tcp-timeout-established=0s --healthz-bind-address=127.0.0.1 --hostname-override=%s --kubeconfig=%s --proxy-mode=iptables",
		a.config.ClusterCIDR, a.j.node, a.o.Paths.Agent("kubeproxy.kubeconfig"))
}

func (a *agent) registered() {
	logx.Infof("Annotations and labels have been set successfully on node: %s", a.j.node)
	if a.config.FlannelBackend != "none" {
		logx.Infof("Waiting for untainted node")
		logx.Infof("Starting flannel with backend %s", a.config.FlannelBackend)
		logx.Infof("Flannel found PodCIDR assigned for node %s", a.j.node)
		logx.Infof("Running flannel backend.")
	}
	if !a.o.ControlPlane {
		logx.Infof("k3s agent is up and running")
	}
	if a.o.Up != nil {
		a.o.Up()
	}
}

// bootMark is a file that a reboot takes away.
const bootMark = "/run/k3s/standin-boot"

// rebooted says whether the machine was started since a node ran on it, and marks this boot.
func rebooted() bool {
	if _, err := os.Stat(bootMark); err == nil {
		return false
	}
	err := os.MkdirAll(filepath.Dir(bootMark), 0o711)
	if err == nil {
		err = os.WriteFile(bootMark, nil, 0o600)
	}
	return err == nil
}

// pairs reads labels of the form key=value.
func pairs(list []string) (map[string]string, error) {
	labels := map[string]string{}
	for _, item := range list {
		key, value, _ := strings.Cut(item, "=")
		if key == "" {
			return nil, fmt.Errorf("invalid node label %q", item)
		}
		labels[key] = value
	}
	return labels, nil
}

// taintsOf reads taints of the form key=value:effect or key:effect.
func taintsOf(list []string) ([]v1.Taint, error) {
	var taints []v1.Taint
	for _, item := range list {
		name, effect, found := strings.Cut(item, ":")
		key, value, _ := strings.Cut(name, "=")
		if !found || key == "" {
			return nil, fmt.Errorf("invalid taint spec: %v", item)
		}
		switch e := v1.TaintEffect(effect); e {
		case v1.TaintEffectNoSchedule, v1.TaintEffectPreferNoSchedule, v1.TaintEffectNoExecute:
			taints = append(taints, v1.Taint{Key: key, Value: value, Effect: e})
		default:
			return nil, errors.New("invalid taint effect: " + effect + ", unsupported taint effect")
		}
	}
	return taints, nil
}
