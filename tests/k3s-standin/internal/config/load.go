package config

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"hmco-boot/k3s-standin/internal/paths"
)

// LoadServer reads the arguments of `k3s server` (without these two words) and the files.
func LoadServer(args []string) (*Config, error) { return load("server", ServerFlags(), args) }

// LoadAgent reads the arguments of `k3s agent`.
func LoadAgent(args []string) (*Config, error) { return load("agent", AgentFlags(), args) }

// Known says whether a key is the name of one of the flags.
func Known(flags []Flag) func(string) bool {
	names := map[string]bool{}
	for _, f := range flags {
		for _, n := range f.Names {
			names[n] = true
		}
	}
	return func(key string) bool { return names[key] }
}

func load(command string, flags []Flag, args []string) (*Config, error) {
	fromFiles, err := FileArgs(args, Known(flags), true)
	if err != nil {
		return nil, err
	}
	v, err := Parse(flags, append(fromFiles, args...))
	if err != nil {
		return nil, err
	}
	c := fill(command, v)
	if err := readTokens(c); err != nil {
		return nil, err
	}
	if c.NodeName == "" {
		name, err := os.Hostname()
		if err != nil {
			return nil, err
		}
		c.NodeName = strings.ToLower(name)
	}
	if c.NodeIP == "" {
		if c.NodeIP, err = DefaultIP(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func fill(command string, v *Values) *Config {
	c := &Config{
		Command: command, DataDir: paths.New(v.Text("data-dir")).Dir, ConfigFile: v.Text("config"), Debug: v.Bool("debug"),
		Token: v.Text("token"), TokenFile: v.Text("token-file"),
		AgentToken: v.Text("agent-token"), AgentTokenFile: v.Text("agent-token-file"),
		ServerURL: strings.TrimSuffix(v.Text("server"), "/"), ClusterInit: v.Bool("cluster-init"), ClusterReset: v.Bool("cluster-reset"),
		RestorePath: v.Text("cluster-reset-restore-path"), DatastoreURL: v.Text("datastore-endpoint"),
		HTTPSListenPort: orInt(v.Int("https-listen-port"), 6443), BindAddress: v.Text("bind-address"),
		AdvertiseAddr: v.Text("advertise-address"), AdvertisePort: v.Int("advertise-port"), TLSSAN: v.Split("tls-san"),
		NodeName: v.Text("node-name"), NodeIP: first(v.Split("node-ip")), NodeExternalIP: first(v.Split("node-external-ip")),
		NodeLabels: v.List("node-label"), NodeTaints: v.List("node-taint"), WithNodeID: v.Bool("with-node-id"),
		DisableAgent: v.Bool("disable-agent"), KubeletArgs: v.List("kubelet-arg"), KubeProxyArgs: v.List("kube-proxy-arg"),
		LBServerPort: orInt(v.Int("lb-server-port"), 6444), DisableLB: v.Bool("disable-apiserver-lb"),
		WriteKubeconfig: v.Text("write-kubeconfig"), WriteKubeconfigMode: v.Text("write-kubeconfig-mode"),
		APIServerArgs:         v.List("kube-apiserver-arg"),
		ControllerManagerArgs: append(v.List("kube-controller-manager-arg"), v.List("kube-controller-arg")...),
		SchedulerArgs:         v.List("kube-scheduler-arg"),
		CloudControllerArgs:   append(v.List("kube-cloud-controller-manager-arg"), v.List("kube-cloud-controller-arg")...),
		EtcdArgs:              v.List("etcd-arg"), Disable: v.Split("disable"),
		DisableHelmController: v.Bool("disable-helm-controller"), DisableCCM: v.Bool("disable-cloud-controller"),
		DisableNetworkPolicy: v.Bool("disable-network-policy"), DisableKubeProxy: v.Bool("disable-kube-proxy"),
		DisableScheduler: v.Bool("disable-scheduler"), ProtectKernelDefaults: v.Bool("protect-kernel-defaults"),
		EmbeddedRegistry: v.Bool("embedded-registry"), EtcdExposeMetrics: v.Bool("etcd-expose-metrics"),
		EgressSelectorMode: v.Text("egress-selector-mode"), FlannelBackend: v.Text("flannel-backend"),
		FlannelIPv6Masq: v.Bool("flannel-ipv6-masq"), FlannelExternalIP: v.Bool("flannel-external-ip"), FlannelIface: v.Text("flannel-iface"),
		ClusterCIDR: orText(strings.Join(v.Split("cluster-cidr"), ","), "10.42.0.0/16"),
		ServiceCIDR: orText(strings.Join(v.Split("service-cidr"), ","), "10.43.0.0/16"),
		ClusterDNS:  strings.Join(v.Split("cluster-dns"), ","), ClusterDomain: v.Text("cluster-domain"),
		ServiceNodePortRange: v.Text("service-node-port-range"), DefaultLocalStorage: v.Text("default-local-storage-path"),
		EncryptSecrets: v.Bool("secrets-encryption"), EncryptProvider: orText(v.Text("secrets-encryption-provider"), "aescbc"),
		DisableSnapshots: v.Bool("etcd-disable-snapshots"), SnapshotName: v.Text("etcd-snapshot-name"),
		SnapshotCron: v.Text("etcd-snapshot-schedule-cron"), SnapshotRetention: v.Int("etcd-snapshot-retention"),
		SnapshotDir: v.Text("etcd-snapshot-dir"), SnapshotCompress: v.Bool("etcd-snapshot-compress"),
		S3: v.Bool("etcd-s3"), S3Values: map[string]string{}, All: v.All(),
	}
	if c.ClusterDNS == "" {
		c.ClusterDNS = NthAddress(c.ServiceCIDR, 10)
	}
	if c.WriteKubeconfig == "" {
		c.WriteKubeconfig = paths.DefaultKubeconfig
	}
	for name := range v.All() {
		if strings.HasPrefix(name, "etcd-s3-") {
			c.S3Values[name] = v.Text(name)
		}
	}
	return c
}

// readTokens reads the tokens that are given by files; a file beats a value, wherever either stands.
func readTokens(c *Config) error {
	for _, pair := range []struct{ value, file *string }{{&c.Token, &c.TokenFile}, {&c.AgentToken, &c.AgentTokenFile}} {
		if *pair.file == "" {
			continue
		}
		data, err := os.ReadFile(*pair.file)
		if err != nil {
			return err
		}
		*pair.value = strings.TrimSpace(string(data))
	}
	return nil
}

// NthAddress is the n-th address of the first network of a comma-separated list; empty when it is none.
func NthAddress(cidrs string, n int) string {
	_, network, err := net.ParseCIDR(strings.Split(cidrs, ",")[0])
	if err != nil {
		return ""
	}
	ip := network.IP
	out := make(net.IP, len(ip))
	copy(out, ip)
	for i := len(out) - 1; i >= 0 && n > 0; i-- {
		n += int(out[i])
		out[i] = byte(n & 0xff)
		n >>= 8
	}
	return out.String()
}

// DefaultIP is the address of the interface that the default route names; without such a route the first global IPv4.
func DefaultIP() (string, error) {
	data, _ := os.ReadFile("/proc/net/route")
	for _, line := range strings.Split(string(data), "\n") {
		f := strings.Fields(line)
		if len(f) > 7 && f[1] == "00000000" {
			if i, err := net.InterfaceByName(f[0]); err == nil {
				if addrs, err := i.Addrs(); err == nil {
					if ip := firstV4(addrs); ip != "" {
						return ip, nil
					}
				}
			}
		}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	if ip := firstV4(addrs); ip != "" {
		return ip, nil
	}
	return "", fmt.Errorf("no default routes found in \"/proc/net/route\" or \"/proc/net/ipv6_route\"")
}

func firstV4(addrs []net.Addr) string {
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return ""
}

func first(in []string) string {
	if len(in) == 0 {
		return ""
	}
	return in[0]
}

func orText(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func orInt(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}

// KubeconfigMode is the mode of the admin kubeconfig: 0600 unless configured.
func (c *Config) KubeconfigMode() os.FileMode {
	if n, err := strconv.ParseUint(c.WriteKubeconfigMode, 8, 32); err == nil && c.WriteKubeconfigMode != "" {
		return os.FileMode(n)
	}
	return 0o600
}
