package datastore

import (
	"crypto/tls"
	"net/url"
	"os"
	"strings"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	yaml "sigs.k8s.io/yaml"

	"hmco-boot/k3s-standin/internal/paths"
)

// Ports of etcd. A temporary etcd and the one that stands for sqlite listen on loopback only, elsewhere.
const (
	clientPort   = "2379"
	peerPort     = "2380"
	otherClient  = "2399"
	otherPeer    = "2398"
	metricsURL   = "http://127.0.0.1:2381"
	clientHTTP   = "https://127.0.0.1:2382"
	loopbackHost = "https://127.0.0.1:"
)

func (s *Store) aside() bool { return s.o.Single || s.o.Dir != "" }

func (s *Store) clientURL() string {
	if s.aside() {
		return loopbackHost + otherClient
	}
	return loopbackHost + clientPort
}

func (s *Store) peerURL() string {
	if s.aside() {
		return loopbackHost + otherPeer
	}
	return "https://" + s.o.NodeIP + ":" + peerPort
}

func clientTLS(p paths.Data) (*tls.Config, error) {
	info := transport.TLSInfo{
		TrustedCAFile: p.TLS("etcd", "server-ca.crt"), CertFile: p.TLS("etcd", "client.crt"), KeyFile: p.TLS("etcd", "client.key"),
	}
	return info.ClientConfig()
}

// config makes etcd's configuration; the file db/etcd/config says the same, as K3s' does.
func (s *Store) config(cluster, state string) (*embed.Config, error) {
	p := s.o.Paths
	cfg := embed.NewConfig()
	cfg.Name = s.name
	cfg.Dir = s.dir()
	cfg.InitialCluster = cluster
	cfg.ClusterState = state
	cfg.ForceNewCluster = s.o.ForceNew
	cfg.Logger = "zap"
	cfg.LogOutputs = []string{"stderr"}
	cfg.LogLevel = "info"
	if s.o.Dir != "" {
		cfg.LogLevel = "error"
	}
	cfg.SnapshotCount = 10000
	cfg.TickMs, cfg.ElectionMs = 200, 2000 // K3s: 500 and 5000, which makes a start up to 5 s longer
	if s.aside() {
		cfg.TickMs, cfg.ElectionMs = 50, 500
	}
	cfg.ExperimentalInitialCorruptCheck = true
	clients, peers := []string{s.clientURL()}, []string{s.peerURL()}
	if !s.aside() {
		peers = []string{loopbackHost + peerPort, s.peerURL()}
		clients = append(clients, "https://"+s.o.NodeIP+":"+clientPort)
		metrics := []string{metricsURL}
		if s.o.ExposeMetrics {
			metrics = append(metrics, "http://"+s.o.NodeIP+":2381")
		}
		cfg.ListenMetricsUrls = urls(metrics)
		cfg.ListenClientHttpUrls = urls([]string{clientHTTP})
	}
	cfg.ListenPeerUrls, cfg.ListenClientUrls = urls(peers), urls(clients)
	cfg.AdvertisePeerUrls = urls([]string{s.peerURL()})
	cfg.AdvertiseClientUrls = urls(clients[len(clients)-1:])
	cfg.ClientTLSInfo = transport.TLSInfo{
		CertFile: p.TLS("etcd", "server-client.crt"), KeyFile: p.TLS("etcd", "server-client.key"),
		TrustedCAFile: p.TLS("etcd", "server-ca.crt"), ClientCertAuth: true,
	}
	cfg.PeerTLSInfo = transport.TLSInfo{
		CertFile: p.TLS("etcd", "peer-server-client.crt"), KeyFile: p.TLS("etcd", "peer-server-client.key"),
		TrustedCAFile: p.TLS("etcd", "peer-ca.crt"), ClientCertAuth: true,
	}
	applyArgs(cfg, s.o.Args)
	if s.aside() {
		return cfg, nil
	}
	return cfg, s.writeConfig(cfg, peers, clients)
}

// applyArgs takes over the few etcd-arg values that change behaviour tests look at.
func applyArgs(cfg *embed.Config, args []string) {
	for _, arg := range args {
		key, value, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		var n int64
		for _, c := range value {
			if c >= '0' && c <= '9' {
				n = n*10 + int64(c-'0')
			}
		}
		switch key {
		case "quota-backend-bytes":
			cfg.QuotaBackendBytes = n
		case "snapshot-count":
			cfg.SnapshotCount = uint64(n)
		case "heartbeat-interval":
			cfg.TickMs = uint(n)
		case "election-timeout":
			cfg.ElectionMs = uint(n)
		}
	}
}

func (s *Store) writeConfig(cfg *embed.Config, peers, clients []string) error {
	m := map[string]any{
		"advertise-client-urls": clients[len(clients)-1],
		"client-transport-security": map[string]any{
			"cert-file": cfg.ClientTLSInfo.CertFile, "client-cert-auth": true, "key-file": cfg.ClientTLSInfo.KeyFile,
			"trusted-ca-file": cfg.ClientTLSInfo.TrustedCAFile,
		},
		"data-dir": cfg.Dir, "election-timeout": cfg.ElectionMs, "experimental-initial-corrupt-check": true,
		"heartbeat-interval": cfg.TickMs, "listen-client-http-urls": clientHTTP, "listen-client-urls": strings.Join(clients, ","),
		"listen-metrics-urls": metricsURL, "listen-peer-urls": strings.Join(peers, ","), "log-outputs": []string{"stderr"},
		"logger": "zap", "name": cfg.Name,
		"peer-transport-security": map[string]any{
			"cert-file": cfg.PeerTLSInfo.CertFile, "client-cert-auth": true, "key-file": cfg.PeerTLSInfo.KeyFile,
			"trusted-ca-file": cfg.PeerTLSInfo.TrustedCAFile,
		},
		"snapshot-count": cfg.SnapshotCount,
	}
	if cfg.ForceNewCluster {
		m["force-new-cluster"] = true
	}
	if !Initialized(s.o.Paths) {
		m["initial-advertise-peer-urls"] = s.peerURL()
		m["initial-cluster"] = cfg.InitialCluster
		m["initial-cluster-state"] = cfg.ClusterState
	}
	text, err := yaml.Marshal(m)
	if err != nil {
		return err
	}
	return os.WriteFile(s.o.Paths.Etcd("config"), text, 0o600)
}

func urls(texts []string) []url.URL {
	out := make([]url.URL, 0, len(texts))
	for _, t := range texts {
		if u, err := url.Parse(t); err == nil {
			out = append(out, *u)
		}
	}
	return out
}
