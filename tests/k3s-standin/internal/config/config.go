// Package config reads what a K3s process is told: config.yaml, config.yaml.d, flags and environment, merged by K3s'
// rules and with its warnings. It decides nothing about what the values mean.
package config

// Config is the merged configuration of `k3s server` or `k3s agent`.
type Config struct {
	Command string // "server" or "agent"

	DataDir    string
	ConfigFile string
	Debug      bool

	// Cluster
	Token           string // as given: short or full form; empty when not configured
	TokenFile       string
	AgentToken      string
	AgentTokenFile  string
	ServerURL       string // --server: https://host:6443 of a running server
	ClusterInit     bool
	ClusterReset    bool
	RestorePath     string // --cluster-reset-restore-path
	DatastoreURL    string
	HTTPSListenPort int
	BindAddress     string
	AdvertiseAddr   string // empty: NodeIP
	AdvertisePort   int
	TLSSAN          []string

	// Node
	NodeName       string
	NodeIP         string
	NodeExternalIP string
	NodeLabels     []string
	NodeTaints     []string
	WithNodeID     bool
	DisableAgent   bool
	KubeletArgs    []string
	KubeProxyArgs  []string
	LBServerPort   int
	DisableLB      bool

	// Files
	WriteKubeconfig     string
	WriteKubeconfigMode string

	// Components
	APIServerArgs         []string
	ControllerManagerArgs []string
	SchedulerArgs         []string
	CloudControllerArgs   []string
	EtcdArgs              []string
	Disable               []string // coredns, servicelb, traefik, local-storage, metrics-server, runtimes
	DisableHelmController bool
	DisableCCM            bool
	DisableNetworkPolicy  bool
	DisableKubeProxy      bool
	DisableScheduler      bool
	ProtectKernelDefaults bool
	EmbeddedRegistry      bool
	EtcdExposeMetrics     bool
	EgressSelectorMode    string
	FlannelBackend        string
	FlannelIPv6Masq       bool
	FlannelExternalIP     bool
	FlannelIface          string
	ClusterCIDR           string
	ServiceCIDR           string
	ClusterDNS            string
	ClusterDomain         string
	ServiceNodePortRange  string
	DefaultLocalStorage   string

	// Secrets encryption
	EncryptSecrets  bool
	EncryptProvider string

	// Snapshots
	DisableSnapshots  bool
	SnapshotName      string
	SnapshotCron      string
	SnapshotRetention int
	SnapshotDir       string
	SnapshotCompress  bool
	S3                bool
	S3Values          map[string]string // the other etcd-s3-* flags by name

	// All holds every flag that was given (after merging), by its first name; for arguments the stand-in does not know
	// more about.
	All map[string][]string
}

// Etcd says whether the server keeps its data in embedded etcd (otherwise in what stands for sqlite).
func (c *Config) Etcd() bool {
	return c.ClusterInit || c.ClusterReset || (c.ServerURL != "" && c.Token != "")
}
