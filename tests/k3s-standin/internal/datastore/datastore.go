// Package datastore runs the embedded etcd of one server: new cluster, join as a learner and promotion, forced new
// cluster, members, status. What is kept in it is not its business, but for the bootstrap record (bootstrap.go).
package datastore

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"hmco-boot/k3s-standin/internal/paths"
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
	// Single keeps the data of a server without cluster-init (K3s: sqlite), in the folder of that name.
	Single        bool
	ExposeMetrics bool
	Args          []string // etcd-arg
	Quiet         bool     // temporary etcd: no metrics listener
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
type Store struct{}

// Start starts etcd and returns as soon as it serves; it may still be without a leader (see Ready).
func Start(ctx context.Context, o Options) (*Store, error) { return nil, nil }

// Initialized says whether a data folder holds a database already.
func Initialized(p paths.Data) bool { return false }

// Client is a client of the local member.
func (s *Store) Client() *clientv3.Client { return nil }

// Name is the member's name, NODE-xxxxxxxx.
func (s *Store) Name() string { return "" }

// Test is K3s' "test data store connection": nil once the local member is a voter and answers.
func (s *Store) Test(ctx context.Context) error { return nil }

// Learner says whether the local member is a learner still.
func (s *Store) Learner(ctx context.Context) (bool, error) { return false, nil }

// Members lists the members as `/db/info` shows them.
func (s *Store) Members(ctx context.Context) ([]Member, error) { return nil, nil }

// Err delivers etcd's end when it ends by itself.
func (s *Store) Err() <-chan error { return nil }

// Stop stops etcd.
func (s *Store) Stop() {}
