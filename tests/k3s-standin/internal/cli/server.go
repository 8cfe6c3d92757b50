package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"hmco-boot/k3s-standin/internal/bootstrap"
	"hmco-boot/k3s-standin/internal/components"
	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/datastore"
	"hmco-boot/k3s-standin/internal/faults"
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
	"hmco-boot/k3s-standin/internal/pki"
	"hmco-boot/k3s-standin/internal/snapshot"
	"hmco-boot/k3s-standin/internal/supervisor"
	"hmco-boot/k3s-standin/internal/version"
)

// server is one run of `k3s server`.
type server struct {
	cfg      *config.Config
	p        paths.Data
	password string
	sup      *supervisor.Supervisor
	deps     supervisor.Deps
	parts    *components.Components
	store    atomic.Pointer[datastore.Store]
	serving  map[string][]byte

	connected chan struct{} // the datastore answers
	ready     chan struct{} // the apiserver is ready
	cancel    context.CancelFunc
	failed    chan error
	failOnce  sync.Once
	peers     []string // client URLs of the cluster to join
	notify    string   // systemd's socket
}

// runServer runs `k3s server ARGS`.
func runServer(args []string, io logx.Streams) int {
	faults.Warn = func(line string) { logx.Warnf("%s", line) }
	logx.SetClock(faults.Now)
	pki.SetClock(faults.Now)
	cfg, err := config.LoadServer(args)
	if err != nil {
		if errors.Is(err, config.ErrUsage) {
			fmt.Fprintf(io.Out, "Incorrect Usage: %v\n\nNAME:\n   k3s server - Run management server\n\nUSAGE:\n   k3s server [OPTIONS]\n", err)
			return fatal(err)
		}
		logx.With("fatal", nil, "%v", err)
		return 1
	}
	logx.SetDebug(cfg.Debug)
	if os.Getuid() != 0 && !cfg.DisableAgent {
		return fatal(errors.New("server must run as root, or with --rootless and/or --disable-agent"))
	}
	p := paths.New(cfg.DataDir)
	if err := snapshot.CheckReset(cfg, p); err != nil {
		return fatal(err)
	}
	ctx, cancel := untilSignal()
	defer cancel()
	tuneMemory()
	s := &server{
		cfg: cfg, p: p, sup: supervisor.New(), connected: make(chan struct{}), ready: make(chan struct{}), cancel: cancel,
		failed: make(chan error, 1), notify: takeNotifySocket(),
	}
	s.makeDeps()
	return s.run(ctx)
}

func fatal(err error) int {
	logx.With("fatal", nil, "Error: %v", err)
	return 1
}

// tuneMemory keeps three servers on one small machine; GOGC and GOMEMLIMIT in the environment have the last word.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(60)
	}
}

func untilSignal() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	klog.OsExit = exitUnlessEnding(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		sig := <-signals
		logx.Warnf("signal received: %q, canceling context...", sig)
		cancel()
		<-signals
		os.Exit(1)
	}()
	return ctx, cancel
}

// exitUnlessEnding is how Kubernetes' parts end the process. A controller manager that has just taken over from a server
// that was stopped, and is stopped itself while it starts, would do so with status 1; the end is under way then, and the
// part has nothing more to do.
func exitUnlessEnding(ctx context.Context) func(code int) {
	return func(code int) {
		if ctx.Err() != nil {
			select {}
		}
		os.Exit(code)
	}
}

func (s *server) makeDeps() {
	s.deps = supervisor.Deps{
		Config: s.cfg, Paths: s.p, Ready: s.ready,
		Store:    func() *datastore.Store { return s.store.Load() },
		Admin:    func() (*rest.Config, error) { return components.Admin(s.p) },
		Password: func() string { return s.password },
		SaveBootstrap: func(ctx context.Context) error {
			_, err := s.saveBootstrap(ctx, false)
			return err
		},
		Stop: s.cancel,
	}
}

func (s *server) run(ctx context.Context) int {
	for _, dir := range []string{s.p.Dir, s.p.Server(), s.p.Cred(), s.p.Server("etc")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fatal(err)
		}
	}
	logx.Infof("Starting k3s %s (%s)", version.Version, version.Commit)
	if err := faults.At("server.start"); err != nil {
		return fatal(err)
	}
	if err := s.findPassword(); err != nil {
		return fatal(err)
	}
	if s.cfg.ClusterReset {
		if err := snapshot.Reset(ctx, s.deps); err != nil {
			return fatal(err)
		}
		return 0
	}
	if err := s.prepare(ctx); err != nil {
		var newer *bootstrap.NewerError
		if errors.As(err, &newer) {
			logx.With("fatal", nil, "%v", newer)
			return 1
		}
		return s.unprepared(ctx, err)
	}
	if err := s.start(ctx); err != nil {
		s.stop()
		return s.unprepared(ctx, err)
	}
	select {
	case <-ctx.Done():
		return s.stopped()
	case err := <-s.failed:
		logx.With("fatal", nil, "%v", err)
		return 1
	}
}

// unprepared ends a start that failed, or that a signal cut short.
func (s *server) unprepared(ctx context.Context, err error) int {
	if ctx.Err() != nil {
		return 1
	}
	return fatal(fmt.Errorf("starting kubernetes: preparing server: %w", err))
}

// stopped ends the server after a signal. One that was not ready yet fails, as in K3s.
func (s *server) stopped() int {
	select {
	case <-s.ready:
		s.stop()
		return 0
	default:
	}
	if store := s.store.Load(); store != nil && store.Leaderless() {
		panic(context.Canceled) // as K3s, which waits for its datastore in a goroutine that does so
	}
	said := s.parts.NotReady()
	s.stop()
	const waiting = "failed to wait for apiserver ready: context canceled, failed to get apiserver /readyz status: "
	if said == nil {
		logx.With("fatal", nil, "Error: %sapiserver not ready", waiting)
	} else {
		logx.With("fatal", nil, "Tunnel watches %s%v", waiting, said)
	}
	return 1
}

// fail ends the server with an error; the first one counts.
func (s *server) fail(err error) { s.failOnce.Do(func() { s.failed <- err }) }

// exited is called when a component ends by itself: K3s prints its error twice and ends.
func (s *server) exited(name string, err error) {
	fmt.Fprintf(os.Stderr, "Error: %v\n", err)
	logx.Errorf("%s exited: %v", name, err)
	os.Exit(1)
}

// stop ends controllers (their leases move at once), apiserver and etcd, in this order.
func (s *server) stop() {
	limit := time.AfterFunc(4500*time.Millisecond, func() { os.Exit(0) })
	defer limit.Stop()
	if s.store.Load() != nil {
		logx.Infof("stopping etcd") // K3s says so first
	}
	if s.parts != nil {
		s.sayWorkers()
		s.parts.StopControllers()
	}
	s.sup.SetAPIServer(nil)
	s.sup.Close()
	if s.parts != nil {
		s.parts.Stop()
	}
	if store := s.store.Load(); store != nil {
		store.Stop()
	}
}

// sayWorkers prints what K3s' own controllers say at their end, once they have begun.
func (s *server) sayWorkers() {
	if s.parts.Handler() == nil {
		return
	}
	for _, kind := range []string{"/v1, Kind=ServiceAccount", "/v1, Kind=ConfigMap", "/v1, Kind=Secret", "k3s.cattle.io/v1, Kind=ETCDSnapshotFile"} {
		logx.Infof("Shutting down %s workers", kind)
	}
}
