package config

import "hmco-boot/k3s-standin/internal/version"

func text(name, def, env, usage string) Flag {
	return Flag{Names: []string{name}, Default: def, Env: env, Usage: usage}
}

func number(name, def, usage string) Flag {
	return Flag{Names: []string{name}, Kind: Int, Default: def, Usage: usage}
}

func truth(name, usage string) Flag { return Flag{Names: []string{name}, Kind: Bool, Usage: usage} }

func list(name, usage string) Flag { return Flag{Names: []string{name}, Kind: List, Usage: usage} }

func short(f Flag, letter string) Flag {
	f.Names = append(f.Names, letter)
	return f
}

func env(f Flag, name string) Flag {
	f.Env = name
	return f
}

// commonFlags are those of both server and agent.
func commonFlags() []Flag {
	return []Flag{
		short(text("config", "/etc/rancher/k3s/config.yaml", "K3S_CONFIG_FILE", "(config) Load configuration from FILE"), "c"),
		env(truth("debug", "(logging) Turn on debug logs"), "K3S_DEBUG"),
		number("v", "0", "(logging) Number for the log level verbosity"),
		text("vmodule", "", "", "(logging) Comma-separated list of FILE_PATTERN=LOG_LEVEL settings for file-filtered logging"),
		short(text("log", "", "", "(logging) Log to file"), "l"),
		truth("alsologtostderr", "(logging) Log to standard error as well as file (if set)"),
		short(text("data-dir", "", "K3S_DATA_DIR", "(data) Folder to hold state default /var/lib/rancher/k3s or ${HOME}/.rancher/k3s if not root"), "d"),
		short(text("token", "", "K3S_TOKEN", "(cluster) Shared secret used to join a server or agent to a cluster"), "t"),
		text("token-file", "", "K3S_TOKEN_FILE", "(cluster) File containing the token"),
		short(text("server", "", "K3S_URL", "(cluster) Server to connect to, used to join a cluster"), "s"),
		text("node-name", "", "K3S_NODE_NAME", "(agent/node) Node name"),
		truth("with-node-id", "(agent/node) Append id to node name"),
		list("node-label", "(agent/node) Registering and starting kubelet with set of labels"),
		list("node-taint", "(agent/node) Registering kubelet with set of taints"),
		text("image-credential-provider-bin-dir", "/var/lib/rancher/credentialprovider/bin", "", "(agent/node) The path to the directory where credential provider plugin binaries are located"),
		text("image-credential-provider-config", "/var/lib/rancher/credentialprovider/config.yaml", "", "(agent/node) The path to the credential provider plugin config file"),
		truth("docker", "(agent/runtime) (experimental) Use cri-dockerd instead of containerd"),
		text("container-runtime-endpoint", "", "", "(agent/runtime) Disable embedded containerd and use the CRI socket at the given path"),
		text("image-service-endpoint", "", "", "(agent/runtime) Disable embedded containerd image service and use remote image service socket at the given path"),
		text("default-runtime", "", "", "(agent/runtime) Set the default runtime in containerd"),
		truth("disable-default-registry-endpoint", "(agent/containerd) Disables containerd's fallback default registry endpoint when a mirror is configured for that registry"),
		truth("nonroot-devices", "(agent/containerd) Allows non-root pods to access devices"),
		text("pause-image", "rancher/mirrored-pause:3.6", "", "(agent/runtime) Customized pause image for containerd or docker sandbox"),
		text("snapshotter", "overlayfs", "", "(agent/runtime) Override default containerd snapshotter"),
		text("private-registry", "/etc/rancher/k3s/registries.yaml", "", "(agent/runtime) Private registry configuration file"),
		text("system-default-registry", "", "K3S_SYSTEM_DEFAULT_REGISTRY", "(agent/runtime) Private registry to be used for all system images"),
		short(list("node-ip", "(agent/networking) IPv4/IPv6 addresses to advertise for node"), "i"),
		list("node-external-ip", "(agent/networking) IPv4/IPv6 external IP addresses to advertise for node"),
		list("node-internal-dns", "(agent/networking) internal DNS addresses to advertise for node"),
		list("node-external-dns", "(agent/networking) external DNS addresses to advertise for node"),
		text("resolv-conf", "", "K3S_RESOLV_CONF", "(agent/networking) Kubelet resolv.conf file"),
		text("flannel-iface", "", "", "(agent/networking) Override default flannel interface"),
		text("flannel-conf", "", "", "(agent/networking) Override default flannel config file"),
		text("flannel-cni-conf", "", "", "(agent/networking) Override default flannel cni config file"),
		list("kubelet-arg", "(agent/flags) Customized flag for kubelet process"),
		list("kube-proxy-arg", "(agent/flags) Customized flag for kube-proxy process"),
		truth("protect-kernel-defaults", "(agent/node) Kernel tuning behavior. If set, error if kernel tunables are different than kubelet defaults."),
		truth("enable-pprof", "(experimental) Enable pprof endpoint on supervisor port"),
		truth("rootless", "(experimental) Run rootless"),
		truth("prefer-bundled-bin", "(experimental) Prefer bundled userspace binaries over host binaries"),
		env(truth("selinux", "(agent/node) Enable SELinux in containerd"), "K3S_SELINUX"),
		env(number("lb-server-port", "6444", "(agent/node) Local port for supervisor client load-balancer"), "K3S_LB_SERVER_PORT"),
		text("vpn-auth", "", "K3S_VPN_AUTH", "(agent/networking) (experimental) Credentials for the VPN provider"),
		text("vpn-auth-file", "", "K3S_VPN_AUTH_FILE", "(agent/networking) (experimental) File containing credentials for the VPN provider"),
		list("airgap-extra-registry", "(agent/runtime) Additional registry to tag airgap images as being sourced from"),
		text("bind-address", "", "", "(listener) k3s bind address (default: 0.0.0.0)"),
	}
}

// AgentFlags are the flags of `k3s agent`.
func AgentFlags() []Flag {
	return append(commonFlags(), truth("disable-apiserver-lb", "(agent/networking) (experimental) Disable the agent's client-side load-balancer and connect directly to the configured server address"))
}

// ServerFlags are the flags of `k3s server`.
func ServerFlags() []Flag {
	flags := append(commonFlags(),
		number("https-listen-port", "6443", "(listener) HTTPS listen port"),
		number("supervisor-port", "0", "(experimental) Supervisor listen port override"),
		number("apiserver-port", "0", "(experimental) apiserver internal listen port override"),
		text("apiserver-bind-address", "", "", "(experimental) apiserver internal bind address override"),
		text("advertise-address", "", "", "(listener) IPv4/IPv6 address that apiserver uses to advertise to members of the cluster"),
		number("advertise-port", "0", "(listener) Port that apiserver uses to advertise to members of the cluster"),
		list("tls-san", "(listener) Add additional hostnames or IPv4/IPv6 addresses as Subject Alternative Names on the server TLS cert"),
		truth("tls-san-security", "(listener) Protect the server TLS cert by refusing to add Subject Alternative Names not associated with the kubernetes apiserver service, server nodes, or values of the tls-san option"),
		list("cluster-cidr", "(networking) IPv4/IPv6 network CIDRs to use for pod IPs"),
		list("service-cidr", "(networking) IPv4/IPv6 network CIDRs to use for service IPs"),
		text("service-node-port-range", "30000-32767", "", "(networking) Port range to reserve for services with NodePort visibility"),
		list("cluster-dns", "(networking) IPv4 Cluster IP for coredns service. Should be in your service-cidr range"),
		text("cluster-domain", "cluster.local", "", "(networking) Cluster Domain"),
		text("flannel-backend", "vxlan", "", "(networking) Backend"),
		truth("flannel-ipv6-masq", "(networking) Enable IPv6 masquerading for pod"),
		truth("flannel-external-ip", "(networking) Use node external IP addresses for Flannel traffic"),
		text("egress-selector-mode", "agent", "", "(networking) One of 'agent', 'cluster', 'pod', 'disabled'"),
		text("servicelb-namespace", "kube-system", "", "(networking) Namespace of the pods for the servicelb component"),
		short(text("write-kubeconfig", "", "K3S_KUBECONFIG_OUTPUT", "(client) Write kubeconfig for admin client to this file"), "o"),
		text("write-kubeconfig-mode", "", "K3S_KUBECONFIG_MODE", "(client) Write kubeconfig with this mode"),
		text("write-kubeconfig-group", "", "K3S_KUBECONFIG_GROUP", "(client) Write kubeconfig with this group"),
		text("helm-job-image", "", "", "(helm) Default image to use for helm jobs"),
		text("agent-token", "", "K3S_AGENT_TOKEN", "(cluster) Shared secret used to join agents to the cluster, but not servers"),
		text("agent-token-file", "", "K3S_AGENT_TOKEN_FILE", "(cluster) File containing the agent secret"),
		env(truth("cluster-init", "(cluster) Initialize a new cluster using embedded Etcd"), "K3S_CLUSTER_INIT"),
		env(truth("cluster-reset", "(cluster) Forget all peers and become sole member of a new cluster"), "K3S_CLUSTER_RESET"),
		text("cluster-reset-restore-path", "", "", "(db) Path to snapshot file to be restored"),
		list("kube-apiserver-arg", "(flags) Customized flag for kube-apiserver process"),
		list("etcd-arg", "(flags) Customized flag for etcd process"),
		list("kube-controller-manager-arg", "(flags) Customized flag for kube-controller-manager process"),
		list("kube-scheduler-arg", "(flags) Customized flag for kube-scheduler process"),
		list("kube-cloud-controller-manager-arg", "(flags) Customized flag for kube-cloud-controller-manager process"),
		list("kube-controller-arg", "(flags) Customized flag for kube-controller-manager process"),
		list("kube-cloud-controller-arg", "(flags) Customized flag for kube-cloud-controller-manager process"),
		text("datastore-endpoint", "", "K3S_DATASTORE_ENDPOINT", "(db) Specify etcd, NATS, MySQL, Postgres, or SQLite (default) data source name"),
		text("datastore-cafile", "", "K3S_DATASTORE_CAFILE", "(db) TLS Certificate Authority file used to secure datastore backend communication"),
		text("datastore-certfile", "", "K3S_DATASTORE_CERTFILE", "(db) TLS certification file used to secure datastore backend communication"),
		text("datastore-keyfile", "", "K3S_DATASTORE_KEYFILE", "(db) TLS key file used to secure datastore backend communication"),
		truth("kine-tls", "(experimental/db) Enable TLS on the kine etcd server socket"),
		text("default-local-storage-path", "", "", "(storage) Default local storage path for local provisioner storage class"),
		list("disable", "(components) Do not deploy packaged components and delete any deployed components"),
		truth("disable-scheduler", "(components) Disable Kubernetes default scheduler"),
		truth("disable-cloud-controller", "(components) Disable k3s default cloud controller manager"),
		truth("disable-kube-proxy", "(components) Disable running kube-proxy"),
		truth("disable-network-policy", "(components) Disable k3s default network policy controller"),
		truth("disable-helm-controller", "(components) Disable Helm controller"),
		truth("disable-agent", "Do not run a local agent and register a local kubelet"),
		truth("disable-apiserver", "(experimental/components) Disable running api server"),
		truth("disable-controller-manager", "(experimental/components) Disable running kube-controller-manager"),
		truth("disable-etcd", "(experimental/components) Disable running etcd"),
		truth("embedded-registry", "(components) Enable embedded distributed container registry"),
		truth("supervisor-metrics", "(experimental/components) Enable serving k3s internal metrics on the supervisor port"),
		truth("secrets-encryption", "Enable secret encryption at rest"),
		truth("etcd-expose-metrics", "(db) Expose etcd metrics to client interface"),
		truth("etcd-disable-snapshots", "(db) Disable automatic etcd snapshots"),
		text("etcd-snapshot-name", "etcd-snapshot", "", "(db) Set the base name of etcd snapshots"),
		text("etcd-snapshot-schedule-cron", "0 */12 * * *", "", "(db) Snapshot interval time in cron spec"),
		number("etcd-snapshot-retention", "5", "(db) Number of snapshots to retain"),
		text("etcd-snapshot-dir", "", "", "(db) Directory to save db snapshots"),
		truth("etcd-snapshot-compress", "(db) Compress etcd snapshot"),
		truth("etcd-s3", "(db) Enable backup to S3"),
		text("etcd-s3-endpoint", "s3.amazonaws.com", "", "(db) S3 endpoint url"),
		text("etcd-s3-endpoint-ca", "", "", "(db) S3 custom CA cert to connect to S3 endpoint"),
		truth("etcd-s3-skip-ssl-verify", "(db) Disables S3 SSL certificate validation"),
		text("etcd-s3-access-key", "", "AWS_ACCESS_KEY_ID", "(db) S3 access key"),
		text("etcd-s3-secret-key", "", "AWS_SECRET_ACCESS_KEY", "(db) S3 secret key"),
		text("etcd-s3-session-token", "", "AWS_SESSION_TOKEN", "(db) S3 session token"),
		text("etcd-s3-bucket", "", "", "(db) S3 bucket name"),
		text("etcd-s3-region", "us-east-1", "", "(db) S3 region / bucket location (optional)"),
		text("etcd-s3-folder", "", "", "(db) S3 folder"),
		text("etcd-s3-proxy", "", "", "(db) Proxy server to use when connecting to S3, overriding any proxy-releated environment variables"),
		text("etcd-s3-config-secret", "", "", "(db) Name of secret in the kube-system namespace used to configure S3, if etcd-s3 is enabled and no other etcd-s3 options are set"),
		truth("etcd-s3-insecure", "(db) Disables S3 over HTTPS"),
		Flag{Names: []string{"etcd-s3-timeout"}, Kind: Duration, Default: "5m0s", Usage: "(db) S3 timeout"},
	)
	if version.AtLeast(1, 32, 4) {
		flags = append(flags, text("secrets-encryption-provider", "aescbc", "", "(experimental) Secret encryption provider"))
	}
	return flags
}
