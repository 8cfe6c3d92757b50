package components

import (
	"fmt"
	"net"
	"sort"
	"strings"

	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
)

// apiPort is where the apiserver itself listens, on loopback; 6443 stands before it.
const apiPort = "6444"

// arguments are a component's flags; a user's values replace K3s' own.
type arguments map[string][]string

// with lays the user's `key=value` arguments over the defaults. `key+=value` adds to a value, `key-=` takes a key away.
func (a arguments) with(extra []string) arguments {
	given := map[string]bool{}
	for _, text := range extra {
		key, value, ok := strings.Cut(strings.TrimLeft(text, "-"), "=")
		if !ok {
			value = "true"
		}
		switch {
		case strings.HasSuffix(key, "+"):
			key = strings.TrimSuffix(key, "+")
			if have := a[key]; len(have) > 0 {
				a[key] = []string{have[0] + "," + value}
				continue
			}
			a[key] = []string{value}
		case strings.HasSuffix(key, "-"):
			delete(a, strings.TrimSuffix(key, "-"))
		case given[key]:
			a[key] = append(a[key], value)
		default:
			given[key] = true
			a[key] = []string{value}
		}
	}
	return a
}

// flags gives the arguments sorted, as K3s prints and passes them; those in but are left out.
func (a arguments) flags(but ...string) []string {
	keys := make([]string, 0, len(a))
	for k := range a {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var out []string
	for _, k := range keys {
		skip := false
		for _, b := range but {
			skip = skip || b == k
		}
		for _, v := range a[k] {
			if !skip {
				out = append(out, "--"+k+"="+v)
			}
		}
	}
	return out
}

func one(pairs ...string) arguments {
	a := arguments{}
	for i := 0; i+1 < len(pairs); i += 2 {
		a[pairs[i]] = []string{pairs[i+1]}
	}
	return a
}

func announce(name string, a arguments) {
	logx.Infof("Running %s %s", name, strings.Join(a.flags(), " "))
}

// notUpstream are flags that only K3s' own Kubernetes has, or that would send calls through K3s' tunnel.
var notUpstream = []string{"advertise-port", "egress-selector-config-file"}

const ciphers = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256," +
	"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"

func apiServerArgs(o Options) arguments {
	c, p := o.Config, o.Paths
	issuer := "https://kubernetes.default.svc." + c.ClusterDomain
	a := one(
		"advertise-port", "6443",
		"allow-privileged", "true",
		"anonymous-auth", "false",
		"api-audiences", issuer+",k3s",
		"authorization-mode", "Node,RBAC",
		"bind-address", "127.0.0.1",
		"cert-dir", p.TLS("temporary-certs"),
		"client-ca-file", p.TLS("client-ca.crt"),
		"egress-selector-config-file", p.Server("etc", "egress-selector-config.yaml"),
		"enable-admission-plugins", "NodeRestriction",
		"enable-aggregator-routing", "true",
		"enable-bootstrap-token-auth", "true",
		"etcd-servers", o.Etcd,
		"kubelet-certificate-authority", p.TLS("server-ca.crt"),
		"kubelet-client-certificate", p.TLS("client-kube-apiserver.crt"),
		"kubelet-client-key", p.TLS("client-kube-apiserver.key"),
		"kubelet-preferred-address-types", "InternalIP,ExternalIP,Hostname",
		"profiling", "false",
		"proxy-client-cert-file", p.TLS("client-auth-proxy.crt"),
		"proxy-client-key-file", p.TLS("client-auth-proxy.key"),
		"requestheader-allowed-names", "system:auth-proxy",
		"requestheader-client-ca-file", p.TLS("request-header-ca.crt"),
		"requestheader-extra-headers-prefix", "X-Remote-Extra-",
		"requestheader-group-headers", "X-Remote-Group",
		"requestheader-username-headers", "X-Remote-User",
		"secure-port", apiPort,
		"service-account-issuer", issuer,
		"service-account-key-file", p.TLS("service.key"),
		"service-account-signing-key-file", p.TLS("service.current.key"),
		"service-cluster-ip-range", c.ServiceCIDR,
		"service-node-port-range", c.ServiceNodePortRange,
		"storage-backend", "etcd3",
		"tls-cert-file", p.TLS("serving-kube-apiserver.crt"),
		"tls-cipher-suites", ciphers,
		"tls-private-key-file", p.TLS("serving-kube-apiserver.key"),
		"etcd-cafile", p.TLS("etcd", "server-ca.crt"),
		"etcd-certfile", p.TLS("etcd", "client.crt"),
		"etcd-keyfile", p.TLS("etcd", "client.key"),
	)
	if c.AdvertiseAddr != "" {
		a["advertise-address"] = []string{c.AdvertiseAddr}
	}
	if c.EncryptSecrets {
		a["encryption-provider-config"] = []string{p.EncryptionConfig()}
		a["encryption-provider-config-automatic-reload"] = []string{"true"}
	}
	return a.with(c.APIServerArgs)
}

func schedulerArgs(c *config.Config, p paths.Data) arguments {
	kubeconfig := p.Cred("scheduler.kubeconfig")
	a := one(
		"authentication-kubeconfig", kubeconfig, "authorization-kubeconfig", kubeconfig, "bind-address", "127.0.0.1",
		"kubeconfig", kubeconfig, "profiling", "false", "secure-port", "10259",
	)
	if !c.Etcd() {
		a["leader-elect"] = []string{"false"}
	}
	return a.with(c.SchedulerArgs)
}

func controllerManagerArgs(c *config.Config, p paths.Data) arguments {
	kubeconfig := p.Cred("controller.kubeconfig")
	a := one(
		"allocate-node-cidrs", "true",
		"authentication-kubeconfig", kubeconfig,
		"authorization-kubeconfig", kubeconfig,
		"bind-address", "127.0.0.1",
		"cluster-cidr", c.ClusterCIDR,
		"cluster-signing-kube-apiserver-client-cert-file", p.TLS("client-ca.nochain.crt"),
		"cluster-signing-kube-apiserver-client-key-file", p.TLS("client-ca.key"),
		"cluster-signing-kubelet-client-cert-file", p.TLS("client-ca.nochain.crt"),
		"cluster-signing-kubelet-client-key-file", p.TLS("client-ca.key"),
		"cluster-signing-kubelet-serving-cert-file", p.TLS("server-ca.nochain.crt"),
		"cluster-signing-kubelet-serving-key-file", p.TLS("server-ca.key"),
		"cluster-signing-legacy-unknown-cert-file", p.TLS("server-ca.nochain.crt"),
		"cluster-signing-legacy-unknown-key-file", p.TLS("server-ca.key"),
		"controllers", "*,tokencleaner",
		"kubeconfig", kubeconfig,
		"profiling", "false",
		"root-ca-file", p.TLS("server-ca.crt"),
		"secure-port", "10257",
		"service-account-private-key-file", p.TLS("service.current.key"),
		"service-cluster-ip-range", c.ServiceCIDR,
		"use-service-account-credentials", "true",
	)
	if !c.Etcd() {
		a["leader-elect"] = []string{"false"}
	}
	return a.with(c.ControllerManagerArgs)
}

// cloudControllerArgs are only printed: Nodes come with what a cloud controller would add.
func cloudControllerArgs(c *config.Config, p paths.Data) arguments {
	kubeconfig := p.Cred("cloud-controller.kubeconfig")
	controllers := "*,-route"
	for _, d := range c.Disable {
		if d == "servicelb" {
			controllers = "*,-route,-service"
		}
	}
	a := one(
		"allocate-node-cidrs", "true",
		"authentication-kubeconfig", kubeconfig,
		"authorization-kubeconfig", kubeconfig,
		"bind-address", "127.0.0.1",
		"cloud-config", p.Server("etc", "cloud-config.yaml"),
		"cloud-provider", "k3s",
		"cluster-cidr", c.ClusterCIDR,
		"configure-cloud-routes", "false",
		"controllers", controllers,
		"kubeconfig", kubeconfig,
		"leader-elect-resource-name", "k3s-cloud-controller-manager",
		"node-status-update-frequency", "1m0s",
		"profiling", "false",
	)
	if !c.Etcd() {
		a["leader-elect"] = []string{"false"}
	}
	return a.with(c.CloudControllerArgs)
}

// endpointListener is the apiserver's listener; once moved, it gives its address as that of 6443, which is then the port
// in the Endpoints of the Service kubernetes.
type endpointListener struct {
	net.Listener
	port  int
	moved bool
}

func listenAPI(port int) (*endpointListener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:"+apiPort)
	if err != nil {
		return nil, fmt.Errorf("failed to create listener: %w", err)
	}
	return &endpointListener{Listener: l, port: port}, nil
}

// Addr is the real address until the listener has been moved.
func (l *endpointListener) Addr() net.Addr {
	a := l.Listener.Addr()
	if t, ok := a.(*net.TCPAddr); ok && l.moved {
		return &net.TCPAddr{IP: t.IP, Port: l.port}
	}
	return a
}
