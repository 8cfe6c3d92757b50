package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	apiapp "k8s.io/kubernetes/cmd/kube-apiserver/app"

	"hmco-boot/k3s-standin/internal/bootstrap"
	"hmco-boot/k3s-standin/internal/certs"
	"hmco-boot/k3s-standin/internal/components"
	"hmco-boot/k3s-standin/internal/datastore"
	"hmco-boot/k3s-standin/internal/deploy"
	"hmco-boot/k3s-standin/internal/encryption"
	"hmco-boot/k3s-standin/internal/faults"
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/node"
	"hmco-boot/k3s-standin/internal/pki"
	"hmco-boot/k3s-standin/internal/snapshot"
	"hmco-boot/k3s-standin/internal/supervisor"
	"hmco-boot/k3s-standin/internal/token"
	"hmco-boot/k3s-standin/internal/webhooks"
)

// start brings the port, etcd, the Kubernetes parts and the node up; it returns when all are on their way.
func (s *server) start(ctx context.Context) error {
	if err := s.listen(); err != nil {
		return err
	}
	if len(s.peers) == 0 {
		if err := s.startEtcd(ctx); err != nil {
			return fmt.Errorf("start managed database: %w", err)
		}
	}
	if err := s.answerWebhooks(ctx); err != nil {
		return err
	}
	s.parts = components.Start(ctx, components.Options{
		Config: s.cfg, Paths: s.p, Etcd: s.etcdURL(), Connected: s.connected, Fatal: s.exited, Wrap: faults.Handler,
	})
	if err := s.register(); err != nil {
		return err
	}
	if err := s.writeTokens(); err != nil {
		return err
	}
	s.sup.SetStarted()
	go s.publishAPI(ctx)
	go s.connect(ctx)
	go s.whenReady(ctx)
	if !s.cfg.DisableAgent {
		go s.runNode(ctx)
	}
	return nil
}

// answerWebhooks lets the apiserver reach admission webhooks of simulated pods.
func (s *server) answerWebhooks(ctx context.Context) error {
	if err := os.MkdirAll(faults.Dir(), 0o700); err != nil {
		return err
	}
	resolver, err := webhooks.New(ctx, filepath.Join(faults.Dir(), "webhooks-trust.crt"), s.deps.Admin)
	if err != nil {
		return err
	}
	apiapp.SetServiceResolverForTests(resolver)
	return nil
}

// listen opens 6443 with "starting" as the answer to everything.
func (s *server) listen() error {
	host := s.cfg.BindAddress
	address := net.JoinHostPort(host, fmt.Sprint(s.cfg.HTTPSListenPort))
	shown := address
	if host == "" {
		shown = fmt.Sprintf("[::]:%d", s.cfg.HTTPSListenPort)
	}
	cert, files, err := supervisor.ListenerCertificate(s.p, shown, pki.NamesOf(s.cfg).Listener())
	if err != nil {
		return err
	}
	s.serving = files
	s.sup.SetCertificate(cert)
	return s.sup.Listen(address)
}

func (s *server) register() error {
	if err := s.sup.LoadUsers(s.p); err != nil {
		return err
	}
	s.sup.Base(s.deps)
	node.Register(s.sup, s.deps)
	encryption.Register(s.sup, s.deps)
	snapshot.Register(s.sup, s.deps)
	token.Register(s.sup, s.deps)
	certs.Register(s.sup, s.deps)
	return nil
}

func (s *server) etcdURL() string {
	if !s.cfg.Etcd() {
		return "https://127.0.0.1:2399"
	}
	return "https://127.0.0.1:2379"
}

// startEtcd starts or joins etcd.
func (s *server) startEtcd(ctx context.Context) error {
	if err := faults.At("etcd.start"); err != nil {
		return err
	}
	switch {
	case !s.cfg.Etcd():
		for _, name := range []string{"state.db", "state.db-shm", "state.db-wal"} {
			if err := os.MkdirAll(s.p.DB(), 0o700); err != nil {
				return err
			}
			f, err := os.OpenFile(s.p.DB(name), os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			_ = f.Close()
		}
		logx.Infof("Kine available at unix://kine.sock")
	case datastore.Initialized(s.p):
		logx.Infof("Starting etcd for existing cluster member")
	case len(s.peers) == 0:
		logx.Infof("Starting etcd for new cluster, cluster-reset=false")
	}
	store, err := datastore.Start(ctx, datastore.Options{
		Paths: s.p, NodeName: s.cfg.NodeName, NodeIP: s.cfg.NodeIP, Peers: s.peers, Single: !s.cfg.Etcd(),
		ExposeMetrics: s.cfg.EtcdExposeMetrics, Args: s.cfg.EtcdArgs,
	})
	if err != nil {
		return err
	}
	s.store.Store(store)
	go func() {
		if err := <-store.Err(); err != nil && ctx.Err() == nil {
			s.fail(fmt.Errorf("etcd exited: %w", err))
		}
	}()
	return nil
}

// connect waits until etcd answers, and saves the bootstrap record.
func (s *server) connect(ctx context.Context) {
	if s.store.Load() == nil {
		if err := s.startEtcd(ctx); err != nil {
			if ctx.Err() == nil {
				s.fail(fmt.Errorf("Error: starting kubernetes: preparing server: start managed database: %w", err)) //nolint:staticcheck // K3s' text
			}
			return
		}
	}
	store := s.store.Load()
	go store.PromoteLearners(ctx)
	if s.cfg.Etcd() {
		go snapshot.Run(ctx, s.deps)
	}
	if !s.waitForStore(ctx, store) {
		return
	}
	if s.cfg.Etcd() {
		if err := store.Defragment(ctx); err != nil {
			logx.Warnf("Failed to defragment etcd database: %v", err)
		}
		logx.Infof("etcd data store connection OK")
	}
	close(s.connected)
	logx.Infof("Saving cluster bootstrap data to datastore")
	logx.Infof("Waiting for API server to become available")
	if s.cfg.Etcd() {
		logx.Infof("ETCD server is now running")
	}
	s.firstSave(ctx)
}

func (s *server) waitForStore(ctx context.Context, store *datastore.Store) bool {
	var said time.Time
	last := ""
	for {
		err := store.Test(ctx)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if s.cfg.Etcd() && (err.Error() != last || time.Since(said) > 5*time.Second) {
			said, last = time.Now(), err.Error()
			logx.Infof("Failed to test data store connection: %v", err)
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// firstSave writes the record of a new cluster; a record of another token ends the process by a panic, as K3s does.
func (s *server) firstSave(ctx context.Context) {
	for {
		created, err := s.saveBootstrap(ctx, true)
		switch {
		case errors.Is(err, datastore.ErrOtherToken):
			panic(err)
		case err == nil && !created:
			logx.Warnf("Bootstrap key already exists")
			return
		case err == nil || ctx.Err() != nil:
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// saveBootstrap collects the shared files and writes the record; with create only when there is none.
func (s *server) saveBootstrap(ctx context.Context, create bool) (bool, error) {
	store := s.store.Load()
	if store == nil {
		return false, errors.New("etcd is not running")
	}
	record, err := bootstrap.Collect(s.p)
	if err != nil {
		return false, err
	}
	data, err := record.Encode()
	if err != nil {
		return false, err
	}
	return datastore.SaveBootstrap(ctx, store.Client(), s.password, data, create)
}

// publishAPI puts the apiserver behind 6443 as soon as it has a handler.
func (s *server) publishAPI(ctx context.Context) {
	for ctx.Err() == nil {
		if h := s.parts.Handler(); h != nil {
			s.sup.SetAPIServer(h)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// whenReady does what follows the apiserver's readiness, and tells systemd.
func (s *server) whenReady(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-s.parts.Ready():
	}
	close(s.ready)
	logx.Infof("Kube API server is now running")
	o := deploy.Options{Deps: s.deps, Serving: s.serving}
	if err := deploy.Start(ctx, o); err != nil {
		if ctx.Err() == nil {
			s.fail(fmt.Errorf("failed to start controllers: failed to create new server context: %w", err))
		}
		return
	}
	if err := faults.At("server.ready"); err != nil {
		s.fail(err)
		return
	}
	if s.cfg.Etcd() {
		logx.Infof("Starting managed etcd node metadata controller")
	}
	logx.Infof("Starting dynamiclistener CN filter node controller with SANs: %v", pki.NamesOf(s.cfg).Listener())
	logx.Infof("k3s is up and running")
	if err := notifyReady(s.notify); err != nil {
		logx.Warnf("Failed to notify systemd: %v", err)
	}
	go encryption.Run(ctx, s.deps)
	go node.Controllers(ctx, s.deps)
	s.parts.Elected(ctx, "k3s", func(ctx context.Context) { deploy.Lead(ctx, o) })
}

// runNode runs the server's own agent.
func (s *server) runNode(ctx context.Context) {
	full, err := os.ReadFile(s.p.Token())
	if err != nil {
		s.fail(err)
		return
	}
	t, err := supervisor.ParseToken(string(full))
	if err != nil {
		s.fail(err)
		return
	}
	if s.cfg.AgentToken != "" {
		if a, err := supervisor.ParseToken(s.cfg.AgentToken); err == nil {
			t.Password = a.Password
		}
	}
	err = node.Run(ctx, node.Options{
		Config: s.cfg, Paths: s.p, Server: fmt.Sprintf("https://127.0.0.1:%d", s.cfg.HTTPSListenPort),
		Token:        supervisor.FullToken(t.CAHash, "node", t.Password),
		ControlPlane: true, Etcd: s.cfg.Etcd(), APIReady: s.ready,
		Annotations: func() map[string]string { return encryption.Annotations(s.cfg, s.p) },
	})
	if err != nil && ctx.Err() == nil {
		s.fail(fmt.Errorf("Error: %w", err)) //nolint:staticcheck // K3s' text
	}
}

// takeNotifySocket takes systemd's socket out of the environment: the apiserver's library would say READY=1 there before
// the apiserver is ready.
func takeNotifySocket() string {
	name := os.Getenv(notifyEnv)
	_ = os.Unsetenv(notifyEnv)
	return name
}

const notifyEnv = "NOTIFY_SOCKET"

// notifyReady tells systemd that the service is up; without systemd (no name) it does nothing.
func notifyReady(name string) error {
	if name == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // a datagram was sent or not
	_, err = conn.Write([]byte("READY=1\n"))
	return err
}
