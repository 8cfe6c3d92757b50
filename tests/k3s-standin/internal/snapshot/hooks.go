package snapshot

import (
	"context"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
	"hmco-boot/k3s-standin/internal/supervisor"
)

const (
	startDelay    = 2 * time.Second // from ready to the first reconciliation, and to the end of the reset-flag
	passwordDelay = 2 * time.Second // from the end of the reset-flag to the own node's password
	cleanupPeriod = 10 * time.Second
	crdLimit      = time.Minute
	// A scheduled snapshot comes this much after its tick, so that servers do not all take theirs at once.
	jitterMin = time.Second
	jitterMax = 4 * time.Second
)

// Run is started when the datastore is connected: schedule, retention, ETCDSnapshotFile objects. It returns when ctx ends.
func Run(ctx context.Context, d supervisor.Deps) {
	m := managerOf(d)
	if !d.Config.DisableSnapshots {
		go m.schedule(ctx)
	}
	select {
	case <-ctx.Done():
		return
	case <-d.Ready:
	}
	if err := m.objects.start(); err != nil {
		logx.Errorf("Failed to start the snapshot controllers: %v", err)
		return
	}
	m.afterReset(ctx)
	limited, cancel := context.WithTimeout(ctx, crdLimit)
	err := ensureCRD(limited, m.objects.client)
	cancel()
	if err != nil {
		if ctx.Err() == nil {
			logx.Errorf("failed to register CRDs: %v", err)
		}
		return
	}
	if !sleep(ctx, startDelay) {
		return
	}
	reset := m.endReset()
	logx.Infof("Reconciling snapshot ConfigMap data")
	if dir, err := m.dir(""); err == nil {
		m.objects.reconcile(ctx, dir)
	}
	if reset {
		go m.rememberPassword(ctx)
	}
	for sleep(ctx, cleanupPeriod) {
		m.objects.releaseDeleted(ctx)
	}
}

// schedule takes a snapshot at every tick. An expression that cannot be read is passed over without a word.
func (m *manager) schedule(ctx context.Context) {
	logx.Infof("start") // the cron library's words
	plan, err := cron.ParseStandard(m.d.Config.SnapshotCron)
	if err != nil {
		return
	}
	now := time.Now()
	logx.Infof("schedule, now=%s, entry=1, next=%s", now.Format(time.RFC3339), plan.Next(now).Format(time.RFC3339))
	for {
		next := plan.Next(time.Now())
		jitter := jitterMin + rand.N(jitterMax-jitterMin)
		if next.IsZero() || !sleep(ctx, time.Until(next)+jitter) {
			return
		}
		m.scheduled(ctx)
	}
}

func (m *manager) scheduled(ctx context.Context) {
	store := m.d.Store()
	if store == nil {
		return
	}
	if learner, err := store.Learner(ctx); err == nil && learner {
		logx.Warnf("Unable to take snapshot: not supported for learner")
		return
	}
	cfg := m.d.Config
	file, dir, err := m.take(ctx, "", cfg.SnapshotName, cfg.SnapshotCompress)
	if err != nil {
		logx.Errorf("Failed to save snapshot: %v", err)
		return
	}
	m.objects.saved(file)
	if _, err := prune(dir, m.node(), cfg.SnapshotName, cfg.SnapshotRetention); err != nil {
		logx.Errorf("Failed to apply local snapshot retention policy: %v", err)
	}
	m.objects.reconcile(ctx, dir)
}

// afterReset is the first normal start after a cluster-reset: the own node's password is forgotten.
func (m *manager) afterReset(ctx context.Context) {
	if _, err := os.Stat(m.d.Paths.ResetFlag()); err != nil {
		return
	}
	name := m.node() + ".node-password.k3s"
	err := m.objects.nodes.CoreV1().Secrets(metav1.NamespaceSystem).Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		logx.Warnf("failed to delete node password secret: %v", err)
	}
}

// endReset removes the reset-flag, some seconds after the start, and says whether there was one.
func (m *manager) endReset() bool {
	err := os.Remove(m.d.Paths.ResetFlag())
	if err != nil && !os.IsNotExist(err) {
		logx.Errorf("failed to remove reset flag: %v", err)
	}
	return err == nil
}

// rememberPassword makes the own node's password Secret anew, which the start after a reset took away.
func (m *manager) rememberPassword(ctx context.Context) {
	if !sleep(ctx, passwordDelay) {
		return
	}
	password, err := os.ReadFile(paths.NodePassword)
	if err != nil {
		return // a server without an agent has none
	}
	verifier := supervisor.NewNodePasswords(m.node(), m.d)
	if _, err := verifier.Verify(ctx, m.node(), strings.TrimSpace(string(password))); err != nil {
		logx.Warnf("failed to ensure node password secret: %v", err)
	}
}

// sleep waits and says whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
