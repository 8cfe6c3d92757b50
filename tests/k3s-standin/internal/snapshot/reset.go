package snapshot

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	etcdsnapshot "go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	"hmco-boot/k3s-standin/internal/bootstrap"
	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/datastore"
	"hmco-boot/k3s-standin/internal/encryption"
	"hmco-boot/k3s-standin/internal/faults"
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
	"hmco-boot/k3s-standin/internal/pki"
	"hmco-boot/k3s-standin/internal/supervisor"
)

const (
	testPoll    = 500 * time.Millisecond
	testLimit   = 60 * time.Second
	defragLimit = 30 * time.Second
)

// CheckReset refuses what `k3s server --cluster-reset` refuses before its line "Starting k3s ...".
func CheckReset(cfg *config.Config, p paths.Data) error {
	if !cfg.ClusterReset {
		return nil
	}
	if cfg.ServerURL != "" {
		return errors.New("cannot perform cluster-reset while server URL is set - remove server from configuration before resetting")
	}
	if cfg.RestorePath != "" && cfg.Token == "" {
		if _, err := os.Stat(p.Token()); errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s does not exist, please pass --token to complete the restoration", p.Token())
		}
	}
	return nil
}

// Reset is the whole of `k3s server --cluster-reset` after the line "Starting k3s ..." (checks, restore, etcd as a new
// cluster of one, files from the record, reset-flag, last message). An error is printed as
// "Error: ..." and ends with status 1; a panic is the caller's status 2. A database is moved away before anything about
// the snapshot is verified, and stays away when that fails: as in the real one.
func Reset(ctx context.Context, d supervisor.Deps) error {
	r := &resetting{d: d, p: d.Paths, cfg: d.Config}
	if err := r.run(ctx); err != nil {
		return fmt.Errorf("starting kubernetes: preparing server: %w", err)
	}
	return nil
}

type resetting struct {
	d   supervisor.Deps
	p   paths.Data
	cfg *config.Config
}

func (r *resetting) run(ctx context.Context) error {
	fresh := !datastore.Initialized(r.p)
	if fresh {
		logx.Infof("Managed etcd cluster initializing")
	} else {
		logx.Infof("Managed etcd cluster bootstrap already complete and initialized")
	}
	if err := r.prepare(fresh); err != nil {
		return err
	}
	store, err := r.database(ctx)
	if err != nil {
		return fmt.Errorf("start managed database: %w", err)
	}
	defer store.Stop()
	if err := r.reconcile(ctx, store); err != nil {
		return err
	}
	logx.Infof("stopping etcd")
	store.Stop()
	logx.Infof("Managed etcd cluster membership has been reset, restart without --cluster-reset flag now. " +
		"Backup and delete ${datadir}/server/db on each peer etcd server and rejoin the nodes")
	return nil
}

// prepare makes folders, CAs and certificates where there are none. A server without a database writes a member name.
func (r *resetting) prepare(fresh bool) error {
	for _, dir := range []string{r.p.Dir, r.p.Server(), r.p.Cred(), r.p.DB(), r.p.Server("etc")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := pki.EnsureCAs(r.p); err != nil {
		return err
	}
	if err := pki.EnsureLeaves(r.p, pki.NamesOf(r.cfg)); err != nil {
		return err
	}
	if !fresh {
		return nil
	}
	if _, err := os.Stat(r.p.Etcd("name")); err == nil {
		return nil
	}
	if err := os.MkdirAll(r.p.Etcd(), 0o700); err != nil {
		return err
	}
	random := make([]byte, 4)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	return os.WriteFile(r.p.Etcd("name"), []byte(r.cfg.NodeName+"-"+hex.EncodeToString(random)), 0o600)
}

// database restores the snapshot, if one is named, and starts etcd as a new cluster of one.
func (r *resetting) database(ctx context.Context) (*datastore.Store, error) {
	if r.cfg.RestorePath == "" {
		if _, err := os.Stat(r.p.ResetFlag()); err == nil {
			return nil, fmt.Errorf("Managed etcd cluster membership was previously reset, please remove the cluster-reset flag and "+
				"start k3s normally. If you need to perform another cluster reset, you must first manually delete the file at %s",
				r.p.ResetFlag())
		}
	} else if err := r.restore(); err != nil {
		return nil, err
	}
	logx.Infof("Starting etcd for new cluster, cluster-reset=true")
	store, err := datastore.Start(ctx, datastore.Options{
		Paths: r.p, NodeName: r.cfg.NodeName, NodeIP: r.cfg.NodeIP, ForceNew: true,
		ExposeMetrics: r.cfg.EtcdExposeMetrics, Args: r.cfg.EtcdArgs,
	})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(r.p.ResetFlag(), nil, 0o600); err != nil {
		store.Stop()
		return nil, err
	}
	return store, nil
}

// restore moves the database away and makes a new one of the snapshot.
func (r *resetting) restore() error {
	path := r.cfg.RestorePath
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("etcd: snapshot path does not exist: %s", path)
	}
	if strings.HasSuffix(path, zipSuffix) {
		plain := r.p.DB(".restore-" + strings.TrimSuffix(filepath.Base(path), zipSuffix))
		if err := unzipFile(path, plain); err != nil {
			return err
		}
		defer os.Remove(plain)
		path = plain
	}
	old := oldPlace(r.p, time.Now().Unix())
	if err := os.Rename(r.p.Etcd(), old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	logx.Infof("Pre-restore etcd database moved to %s", old)
	if err := faults.At("restore.moved"); err != nil {
		return err
	}
	peer := "https://" + bracket(r.cfg.NodeIP) + ":2380"
	err := etcdsnapshot.NewV3(zap.NewNop()).Restore(etcdsnapshot.RestoreConfig{
		SnapshotPath: path, Name: r.cfg.NodeName, OutputDataDir: r.p.Etcd(), OutputWALDir: r.p.Etcd("member", "wal"),
		PeerURLs: []string{peer}, InitialCluster: r.cfg.NodeName + "=" + peer,
	})
	if err != nil {
		return err
	}
	return faults.At("restore.restored")
}

// oldPlace is where a database is moved to.
func oldPlace(p paths.Data, unix int64) string { return fmt.Sprintf("%s-old-%d", p.Etcd(), unix) }

func bracket(ip string) string {
	if strings.Contains(ip, ":") {
		return "[" + ip + "]"
	}
	return ip
}

// reconcile does what a start does up to the bootstrap record, and takes all shared files from the record.
func (r *resetting) reconcile(ctx context.Context, store *datastore.Store) error {
	if err := r.sayToken(); err != nil {
		return err
	}
	if err := connected(ctx, store); err != nil {
		return err
	}
	logx.Infof("etcd data store connection OK")
	logx.Infof("Waiting for API server to become available")
	logx.Infof("ETCD server is now running")
	logx.Infof("k3s is up and running")
	logx.Infof("Saving cluster bootstrap data to datastore")
	record, err := r.record(ctx, store.Client())
	if err != nil {
		if errors.Is(err, datastore.ErrOtherToken) {
			dieOfToken(err)
		}
		return err
	}
	if err := connected(ctx, store); err != nil {
		return err
	}
	bootstrap.Encryption(r.cfg.EncryptSecrets)
	if err := bootstrap.Reconcile(r.p, record, true); err != nil {
		return err
	}
	if err := r.backupCerts(); err != nil {
		return err
	}
	logx.Warnf("Updating bootstrap data on disk from datastore")
	if err := record.Write(r.p); err != nil {
		return err
	}
	if err := pki.EnsureCAs(r.p); err != nil {
		return err
	}
	if err := pki.EnsureLeaves(r.p, pki.NamesOf(r.cfg)); err != nil {
		return err
	}
	if _, err := WriteToken(r.p, r.d.Password()); err != nil {
		return err
	}
	return encryption.Ensure(r.cfg, r.p)
}

// record reads the bootstrap record; a database without one gets this server's.
func (r *resetting) record(ctx context.Context, client *clientv3.Client) (bootstrap.Record, error) {
	bootstrap.Encryption(r.cfg.EncryptSecrets)
	data, _, err := datastore.LoadBootstrap(ctx, client, r.d.Password())
	if err != nil {
		return nil, err
	}
	if data != nil {
		logx.Warnf("Bootstrap key already exists")
		return bootstrap.Decode(data)
	}
	own, err := bootstrap.Collect(r.p)
	if err != nil {
		return nil, err
	}
	if data, err = own.Encode(); err != nil {
		return nil, err
	}
	_, err = datastore.SaveBootstrap(ctx, client, r.d.Password(), data, true)
	return own, err
}

// dieOfToken ends as K3s does: a panic in a goroutine, exit status 2.
func dieOfToken(err error) {
	go func() { panic(err) }()
	select {}
}

// sayToken writes server/token (also over a better one) and says so.
func (r *resetting) sayToken() error {
	if _, err := WriteToken(r.p, r.d.Password()); err != nil {
		return err
	}
	url := fmt.Sprintf("https://%s:%d", bracket(supervisor.Advertised(r.cfg)), r.cfg.HTTPSListenPort)
	logx.Infof("Server node token is available at %s", r.p.Token())
	logx.Infof("To join server node to cluster: k3s server -s %s -t ${SERVER_NODE_TOKEN}", url)
	logx.Infof("Agent node token is available at %s", r.p.Server("agent-token"))
	logx.Infof("To join agent node to cluster: k3s agent -s %s -t ${AGENT_NODE_TOKEN}", url)
	if err := r.writeKubeconfig(); err != nil {
		return err
	}
	logx.Infof("Run: k3s kubectl")
	r.sayAgent()
	return nil
}

func (r *resetting) writeKubeconfig() error {
	text, err := pki.AdminKubeconfig(r.p, fmt.Sprintf("https://127.0.0.1:%d", r.cfg.HTTPSListenPort))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(r.cfg.WriteKubeconfig), 0o755); err != nil {
		return err
	}
	if err := pki.WriteFile(r.cfg.WriteKubeconfig, []byte(text), r.cfg.KubeconfigMode()); err != nil {
		return err
	}
	logx.Infof("Wrote kubeconfig %s", r.cfg.WriteKubeconfig)
	return nil
}

// sayAgent says what the real one's agent says, which runs for the moment of a reset; here it does not.
func (r *resetting) sayAgent() {
	if r.cfg.DisableAgent {
		return
	}
	server := fmt.Sprintf("127.0.0.1:%d", r.cfg.HTTPSListenPort)
	logx.Infof("Updated load balancer k3s-agent-load-balancer default server: %s", server)
	logx.Infof("Running load balancer k3s-agent-load-balancer 127.0.0.1:%d -> [] [default: %s]", r.cfg.LBServerPort, server)
	logx.Infof("Password verified locally for node %s", r.cfg.NodeName)
}

// WriteToken writes server/token, `K10<hash>::server:<password>`.
func WriteToken(p paths.Data, password string) (string, error) {
	hash, err := pki.Fingerprint(p.TLS("server-ca.crt"))
	if err != nil {
		return "", err
	}
	full := fmt.Sprintf("K10%s::server:%s", hash, password)
	if err := pki.WriteFile(p.Token(), []byte(full+"\n"), 0o600); err != nil {
		return "", err
	}
	for _, link := range []string{"node-token", "agent-token"} {
		if _, err := os.Lstat(p.Server(link)); errors.Is(err, os.ErrNotExist) {
			if err := os.Symlink(p.Token(), p.Server(link)); err != nil {
				return "", err
			}
		}
	}
	return full, nil
}

// backupCerts copies server/tls to server/tls-<unix>.
func (r *resetting) backupCerts() error {
	backup := fmt.Sprintf("%s-%d", r.p.TLS(), time.Now().Unix())
	logx.Infof("Cluster reset: backing up certificates directory to %s", backup)
	return CopyTree(r.p.TLS(), backup)
}

// connected waits for etcd and says how large it is.
func connected(ctx context.Context, store *datastore.Store) error {
	limited, cancel := context.WithTimeout(ctx, testLimit)
	defer cancel()
	for {
		err := store.Test(limited)
		if err == nil {
			break
		}
		logx.Infof("Failed to test data store connection: %v", err)
		if !sleep(limited, testPoll) {
			return fmt.Errorf("failed to test data store connection: %w", err)
		}
	}
	slow, done := context.WithTimeout(ctx, defragLimit)
	defer done()
	return store.Defragment(slow)
}
