package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hmco-boot/k3s-standin/internal/bootstrap"
	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/datastore"
	"hmco-boot/k3s-standin/internal/deploy"
	"hmco-boot/k3s-standin/internal/encryption"
	"hmco-boot/k3s-standin/internal/faults"
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/pki"
	"hmco-boot/k3s-standin/internal/snapshot"
	"hmco-boot/k3s-standin/internal/supervisor"
)

// findPassword takes the password from the configured token, else from server/token, else makes one.
func (s *server) findPassword() error {
	text := s.cfg.Token
	if text == "" {
		data, err := os.ReadFile(s.p.Token())
		if err == nil {
			text = strings.TrimSpace(string(data))
		} else if !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if text == "" {
		random := make([]byte, 16)
		_, _ = rand.Read(random)
		text = hex.EncodeToString(random)
	}
	t, err := supervisor.ParseToken(text)
	if err != nil {
		return err
	}
	s.password = t.Password
	return nil
}

// prepare brings shared files, certificates and passwords in place.
func (s *server) prepare(ctx context.Context) error {
	bootstrap.Encryption(s.cfg.EncryptSecrets)
	if s.cfg.Etcd() {
		if err := s.bootstrapEtcd(ctx); err != nil {
			return err
		}
	} else {
		logx.Infof("Configuring sqlite3 database connection pooling: maxIdleConns=2, maxOpenConns=0, connMaxLifetime=0s")
		logx.Infof("Configuring database table schema and indexes, this may take a moment...")
		logx.Infof("Database tables and indexes are up to date")
	}
	if err := faults.At("server.prepared"); err != nil {
		return err
	}
	if err := pki.EnsureCAs(s.p); err != nil {
		return err
	}
	if err := pki.EnsureLeaves(s.p, pki.NamesOf(s.cfg)); err != nil {
		return err
	}
	if err := s.writeUsers(); err != nil {
		return err
	}
	if err := s.writeEtc(); err != nil {
		return err
	}
	if err := encryption.Ensure(s.cfg, s.p); err != nil {
		return err
	}
	return deploy.Stage(s.deps)
}

// bootstrapEtcd gets the shared files of an existing cluster: from a running server, or from the own database.
func (s *server) bootstrapEtcd(ctx context.Context) error {
	switch {
	case datastore.Initialized(s.p):
		logx.Infof("Managed etcd cluster bootstrap already complete and initialized")
		return s.reconcile(ctx)
	case s.cfg.ServerURL != "":
		return s.join(ctx)
	default:
		logx.Infof("Managed etcd cluster initializing")
		return nil
	}
}

// join asks the named server whether this one may join, and takes its shared files.
func (s *server) join(ctx context.Context) error {
	if _, err := supervisor.Connect(ctx, s.cfg.ServerURL, s.cfg.Token, "server", true); err != nil {
		return err
	}
	logx.Infof("Managed etcd cluster not yet initialized")
	c, err := supervisor.Connect(ctx, s.cfg.ServerURL, s.cfg.Token, "server", true)
	if err != nil {
		return err
	}
	theirs, err := c.FetchCritical(ctx)
	if err != nil {
		return fmt.Errorf("failed to validate server configuration: %w", err)
	}
	if wrong := config.Mismatches(s.cfg.Critical(), theirs); len(wrong) > 0 {
		for _, key := range wrong {
			logx.Warnf("critical configuration mismatched: %s", key)
		}
		return errors.New("failed to validate server configuration: critical configuration value mismatch between servers")
	}
	record, err := c.FetchBootstrap(ctx)
	if err != nil {
		return fmt.Errorf("failed to retrieve bootstrap data: %w", err)
	}
	logx.Infof("Reconciling bootstrap data between datastore and disk")
	if err := record.Write(s.p); err != nil {
		return err
	}
	return s.findPeers(ctx, c)
}

// findPeers notes the members of the cluster that is joined.
func (s *server) findPeers(ctx context.Context, c *supervisor.Client) error {
	peers, err := c.FetchMembers(ctx)
	if err != nil {
		return fmt.Errorf("failed to get etcd members: %w", err)
	}
	if len(peers) == 0 {
		return errors.New("failed to get etcd members: the server has no embedded etcd")
	}
	s.peers = peers
	return nil
}

// reconcile brings disk and record together at the start of a server that has a database. The record comes from the
// server named in the configuration, or from a temporary etcd on a copy of the own database: also when that server
// refuses, for it goes on accepting only the old token until it has been restarted itself.
func (s *server) reconcile(ctx context.Context) error {
	if s.cfg.ServerURL != "" {
		if record, err := s.remoteRecord(ctx); err == nil {
			if err := bootstrap.Reconcile(s.p, record, false); err != nil {
				return err
			}
			logx.Infof("Successfully reconciled with datastore")
			return nil
		}
	}
	logx.Infof("Starting temporary etcd to reconcile with datastore")
	record, err := s.temporaryRecord(ctx)
	if err != nil || record == nil {
		return err
	}
	if _, err := bootstrap.Collect(s.p); err != nil {
		return err
	}
	if err := bootstrap.Reconcile(s.p, record, false); err != nil {
		return err
	}
	logx.Infof("Successfully reconciled with datastore")
	return nil
}

func (s *server) remoteRecord(ctx context.Context) (bootstrap.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	host := strings.TrimPrefix(s.cfg.ServerURL, "https://")
	conn, err := net.DialTimeout("tcp", host, 2*time.Second)
	if err != nil {
		return nil, err
	}
	_ = conn.Close()
	c, err := supervisor.Connect(ctx, s.cfg.ServerURL, s.cfg.Token, "server", true)
	if err != nil {
		return nil, err
	}
	return c.FetchBootstrap(ctx)
}

// temporaryRecord starts etcd on a copy of the database as a cluster of one, so that no quorum is needed, and reads the
// record. A record of another token is not an error here: it is one when the record is to be saved.
func (s *server) temporaryRecord(ctx context.Context) (bootstrap.Record, error) {
	dir := s.p.DB("etcd-tmp")
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a leftover is removed by the next start
	if err := snapshot.CopyTree(s.p.Etcd("member"), filepath.Join(dir, "member")); err != nil {
		return nil, err
	}
	// The copy is served with certificates that may have to be made first.
	if err := pki.EnsureCAs(s.p); err != nil {
		return nil, err
	}
	if err := pki.EnsureLeaves(s.p, pki.NamesOf(s.cfg)); err != nil {
		return nil, err
	}
	store, err := datastore.Start(ctx, datastore.Options{Paths: s.p, NodeName: s.cfg.NodeName, NodeIP: s.cfg.NodeIP, ForceNew: true, Dir: dir})
	if err != nil {
		return nil, err
	}
	defer store.Stop()
	for {
		if err = store.Test(ctx); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	data, _, err := datastore.LoadBootstrap(ctx, store.Client(), s.password)
	if errors.Is(err, datastore.ErrOtherToken) || data == nil && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return bootstrap.Decode(data)
}

// writeUsers writes cred/passwd and cred/ipsec.psk.
func (s *server) writeUsers() error {
	agent := s.password
	if s.cfg.AgentToken != "" {
		t, err := supervisor.ParseToken(s.cfg.AgentToken)
		if err != nil {
			return err
		}
		agent = t.Password
	}
	text := fmt.Sprintf("%s,node,node,k3s:agent\n%s,server,server,k3s:server\n", agent, s.password)
	if err := pki.WriteFile(s.p.Passwd(), []byte(text), 0o600); err != nil {
		return err
	}
	if _, err := os.Stat(s.p.Cred("ipsec.psk")); err == nil {
		return nil
	}
	random := make([]byte, 48)
	_, _ = rand.Read(random)
	return pki.WriteFile(s.p.Cred("ipsec.psk"), []byte(hex.EncodeToString(random)+"\n"), 0o600)
}

// writeEtc writes the two files in server/etc. They are not read: calls to nodes go straight to their addresses, and
// there is no cloud controller.
func (s *server) writeEtc() error {
	egress := `{"kind":"EgressSelectorConfiguration","apiVersion":"apiserver.k8s.io/v1beta1","egressSelections":[{"name":"cluster","connection":{"proxyProtocol":"HTTPConnect","transport":{"tcp":{"url":"https://127.0.0.1:6443","tlsConfig":{"caBundle":"` +
		s.p.TLS("server-ca.crt") + `","clientKey":"` + s.p.TLS("client-kube-apiserver.key") + `","clientCert":"` + s.p.TLS("client-kube-apiserver.crt") + `"}}}}}]}`
	if err := pki.WriteFile(s.p.Server("etc", "egress-selector-config.yaml"), []byte(egress), 0o600); err != nil {
		return err
	}
	cloud := `{"loadBalancerDefaultPriorityClassName":"system-node-critical","loadBalancerEnabled":true,"loadBalancerImage":"rancher/klipper-lb:v0.4.13","loadBalancerNamespace":"kube-system","nodeEnabled":true}`
	return pki.WriteFile(s.p.Server("etc", "cloud-config.yaml"), []byte(cloud), 0o600)
}

// writeTokens writes server/token and its links, and the admin kubeconfig, and says so.
func (s *server) writeTokens() error {
	hash, err := pki.Fingerprint(s.p.TLS("server-ca.crt"))
	if err != nil {
		return err
	}
	full := supervisor.FullToken(hash, "server", s.password)
	if err := pki.WriteFile(s.p.Token(), []byte(full+"\n"), 0o600); err != nil {
		return err
	}
	if err := link(s.p.Token(), s.p.Server("node-token")); err != nil {
		return err
	}
	if s.cfg.AgentToken == "" {
		err = link(s.p.Token(), s.p.Server("agent-token"))
	} else {
		t, perr := supervisor.ParseToken(s.cfg.AgentToken)
		if perr != nil {
			return perr
		}
		if info, lerr := os.Lstat(s.p.Server("agent-token")); lerr == nil && info.Mode()&os.ModeSymlink != 0 {
			_ = os.Remove(s.p.Server("agent-token"))
		}
		err = pki.WriteFile(s.p.Server("agent-token"), []byte(supervisor.FullToken(hash, "node", t.Password)+"\n"), 0o600)
	}
	if err != nil {
		return err
	}
	url := fmt.Sprintf("https://%s", net.JoinHostPort(supervisor.Advertised(s.cfg), fmt.Sprint(s.cfg.HTTPSListenPort)))
	logx.Infof("Server node token is available at %s", s.p.Token())
	logx.Infof("To join server node to cluster: k3s server -s %s -t ${SERVER_NODE_TOKEN}", url)
	logx.Infof("Agent node token is available at %s", s.p.Server("agent-token"))
	logx.Infof("To join agent node to cluster: k3s agent -s %s -t ${AGENT_NODE_TOKEN}", url)
	return s.writeKubeconfig()
}

func (s *server) writeKubeconfig() error {
	text, err := pki.AdminKubeconfig(s.p, fmt.Sprintf("https://127.0.0.1:%d", s.cfg.HTTPSListenPort))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.cfg.WriteKubeconfig), 0o755); err != nil {
		return err
	}
	if err := pki.WriteFile(s.cfg.WriteKubeconfig, []byte(text), s.cfg.KubeconfigMode()); err != nil {
		return err
	}
	logx.Infof("Wrote kubeconfig %s", s.cfg.WriteKubeconfig)
	logx.Infof("Run: k3s kubectl")
	return nil
}

// link makes a symbolic link unless it is there already.
func link(target, name string) error {
	if have, err := os.Readlink(name); err == nil && have == target {
		return nil
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Symlink(target, name)
}
