// Package datastore runs the embedded etcd of one server: new cluster, join as a learner and promotion, forced new
// cluster, members, status. What is kept in it is not its business, but for the bootstrap record (bootstrap.go).
package datastore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	etcdversion "go.etcd.io/etcd/api/v3/version"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"hmco-boot/k3s-standin/internal/faults"
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
	"hmco-boot/k3s-standin/internal/version"
)

// Options say how etcd is to be started.
type Options struct {
	Paths    paths.Data
	NodeName string
	NodeIP   string
	// Peers are client URLs of the cluster to join; empty for a new or already known cluster.
	Peers []string
	// ForceNew makes the data that is there a cluster of one (cluster-reset).
	ForceNew bool
	// Single keeps the data of a server without cluster-init (K3s: sqlite) in a place of its own.
	Single        bool
	ExposeMetrics bool
	Args          []string // etcd-arg
	// Dir is another data folder, for the temporary etcd of a start; it listens on other ports and shows no metrics.
	Dir string
}

// Member is one member of the cluster.
type Member struct {
	ID         uint64
	Name       string
	PeerURLs   []string
	ClientURLs []string
	Learner    bool
}

// Store is a running etcd.
type Store struct {
	o      Options
	name   string
	etcd   *embed.Etcd
	client *clientv3.Client
	own    local
	once   sync.Once
}

// ErrLearner is what Test says about a member that has not been promoted yet.
var ErrLearner = errors.New("this server has not yet been promoted from learner to voting member")

// ErrDuplicateName is what a join meets when the cluster has a member of the same node name already.
var ErrDuplicateName = errors.New("duplicate node name found, please use a unique name for this node")

// Initialized says whether a data folder holds a database already.
func Initialized(p paths.Data) bool {
	_, err := os.Stat(p.Etcd("member", "wal"))
	return err == nil
}

// Start starts etcd and returns as soon as it runs; it may still be without a leader (see Test). A join retries until ctx
// ends while the cluster cannot take a member.
func Start(ctx context.Context, o Options) (*Store, error) {
	etcdversion.Version = version.Etcd
	s := &Store{o: o}
	for _, dir := range []string{o.Paths.DB(), o.Paths.Etcd(), s.dir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	if !o.Single && o.Dir == "" && !o.ForceNew {
		if err := os.MkdirAll(o.Paths.Snapshots(), 0o700); err != nil {
			return nil, err
		}
	}
	if err := s.loadName(); err != nil {
		return nil, err
	}
	cluster, state := s.name+"="+s.peerURL(), embed.ClusterStateFlagNew
	if len(o.Peers) > 0 {
		var err error
		if cluster, err = s.join(ctx); err != nil {
			return nil, err
		}
		state = embed.ClusterStateFlagExisting
	}
	cfg, err := s.config(cluster, state)
	if err != nil {
		return nil, err
	}
	if s.etcd, err = embed.StartEtcd(cfg); err != nil {
		return nil, err
	}
	if s.client, err = dial(o.Paths, []string{s.clientURL()}); err != nil {
		s.etcd.Close()
		return nil, err
	}
	if s.own, err = dialLocal(o.Paths, s.clientURL()); err != nil {
		_ = s.client.Close()
		s.etcd.Close()
		return nil, err
	}
	go faults.SlowDisk(ctx, s.etcd.Server.Backend().BatchTx())
	return s, nil
}

func (s *Store) dir() string {
	switch {
	case s.o.Dir != "":
		return s.o.Dir
	case s.o.Single:
		return s.o.Paths.DB(".state")
	default:
		return s.o.Paths.Etcd()
	}
}

// loadName reads db/etcd/name, or makes NODE-xxxxxxxx.
func (s *Store) loadName() error {
	file := s.o.Paths.Etcd("name")
	if s.o.Single || s.o.Dir != "" {
		s.name = "standin"
		return nil
	}
	if data, err := os.ReadFile(file); err == nil && len(data) > 0 {
		s.name = strings.TrimSpace(string(data))
		return nil
	}
	random := make([]byte, 4)
	_, _ = rand.Read(random)
	s.name = s.o.NodeName + "-" + hex.EncodeToString(random)
	return os.WriteFile(file, []byte(s.name), 0o600)
}

// Name is the member's name, NODE-xxxxxxxx.
func (s *Store) Name() string { return s.name }

// Client is a client of the local member.
func (s *Store) Client() *clientv3.Client { return s.client }

// ClientURL is the URL of the local member.
func (s *Store) ClientURL() string { return s.clientURL() }

// Err delivers etcd's end when it ends by itself.
func (s *Store) Err() <-chan error { return s.etcd.Err() }

// closeLimit is how long open calls may hold up the end of the listeners, once the database itself is closed.
const closeLimit = 300 * time.Millisecond

// Stop stops etcd; a second call does nothing. The database is closed when it returns; leadership has moved to another
// member before. Watches of clients that are still there are cut.
func (s *Store) Stop() {
	s.once.Do(func() {
		_, _ = s.client.Close(), s.own.conn.Close()
		s.etcd.Server.Stop()
		done := make(chan struct{})
		go func() { s.etcd.Close(); close(done) }()
		select {
		case <-done:
		case <-time.After(closeLimit):
		}
	})
}

// Test is K3s' "test data store connection": nil once the local member is a voter, has a leader and its alarms could be
// cleared. The last takes a proposal, so that a database whose log was lost (a failed restore) does not pass: its entries
// are skipped until the new log is as long as the old one.
func (s *Store) Test(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	st, err := s.client.Status(ctx, s.clientURL())
	if err != nil {
		return err
	}
	if st.IsLearner {
		return ErrLearner
	}
	if st.Leader == 0 {
		return errors.New("etcdserver: no leader")
	}
	alarms, err := s.client.AlarmList(ctx)
	if err != nil {
		return err
	}
	for _, a := range alarms.Alarms {
		if a.MemberID == st.Header.MemberId {
			if _, err := s.client.AlarmDisarm(ctx, &clientv3.AlarmMember{MemberID: a.MemberID, Alarm: a.Alarm}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Learner says whether the local member is a learner still.
func (s *Store) Learner(ctx context.Context) (bool, error) {
	st, err := s.own.status(ctx)
	if err != nil {
		return false, err
	}
	return st.IsLearner, nil
}

// HasLeader is nil when the local member answers and knows a leader.
func (s *Store) HasLeader(ctx context.Context) error {
	st, err := s.own.status(ctx)
	if err == nil && st.Leader == 0 {
		err = errors.New("etcdserver: no leader")
	}
	return err
}

// Leader says whether the local member leads the cluster.
func (s *Store) Leader() bool { return s.etcd.Server.Leader() == s.etcd.Server.ID() }

// Leaderless says that the local member knows no leader: it has not found the others, or there is no quorum.
func (s *Store) Leaderless() bool { return s.etcd.Server.Leader() == 0 }

// Members lists the members as `/db/info` shows them.
func (s *Store) Members(ctx context.Context) ([]Member, error) {
	got, err := s.own.members(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Member, 0, len(got))
	for _, m := range got {
		out = append(out, Member{ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, Learner: m.IsLearner})
	}
	return out, nil
}

// Defragment compacts the file and prints K3s' lines about it.
func (s *Store) Defragment(ctx context.Context) error {
	used, size, err := s.size(ctx)
	if err != nil {
		return err
	}
	logx.Infof("Connected to etcd v%s - datastore using %d of %d bytes", version.Etcd, used, size)
	logx.Infof("Defragmenting etcd database")
	if _, err := s.client.Defragment(ctx, s.clientURL()); err != nil {
		return err
	}
	if used, size, err = s.size(ctx); err != nil {
		return err
	}
	logx.Infof("Datastore using %d of %d bytes after defragment", used, size)
	return nil
}

func (s *Store) size(ctx context.Context) (used, size int64, err error) {
	st, err := s.client.Status(ctx, s.clientURL())
	if err != nil {
		return 0, 0, err
	}
	return st.DbSizeInUse, st.DbSize, nil
}

// PromoteLearners promotes learners while this member leads, until ctx ends.
func (s *Store) PromoteLearners(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var lastSaid time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !s.Leader() {
			if _, err := s.learnerStatus(ctx); err != nil && ctx.Err() == nil && time.Since(lastSaid) > 10*time.Second {
				lastSaid = time.Now()
				logx.Errorf("Failed to check local etcd status for learner management: %v", err)
			}
			continue
		}
		call, cancel := context.WithTimeout(ctx, 5*time.Second)
		members, err := s.Members(call)
		for _, m := range members {
			if err == nil && m.Learner && m.Name != "" {
				if _, err := s.client.MemberPromote(call, m.ID); err == nil {
					logx.Infof("Promoted learner %s", m.Name)
				}
			}
		}
		cancel()
	}
}

func (s *Store) learnerStatus(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return s.Learner(ctx)
}

func dial(p paths.Data, endpoints []string) (*clientv3.Client, error) {
	tlsConfig, err := clientTLS(p)
	if err != nil {
		return nil, err
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, TLS: tlsConfig, DialTimeout: 5 * time.Second, DialKeepAliveTime: 30 * time.Second,
		DialKeepAliveTimeout: 10 * time.Second, PermitWithoutStream: true, Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("failed to create etcd client: %w", err)
	}
	return c, nil
}
