package datastore

import (
	"context"
	"errors"
	"net/url"
	"os"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"hmco-boot/k3s-standin/internal/logx"
)

// join adds this member as a learner, unless it is a member already, and returns the initial cluster. While the cluster
// cannot take one (another learner, just changed) it is tried again every half second.
func (s *Store) join(ctx context.Context) (string, error) {
	c, err := dial(s.o.Paths, s.o.Peers)
	if err != nil {
		return "", err
	}
	defer c.Close() //nolint:errcheck // nothing was written through it
	said := false
	for {
		cluster, err := s.tryJoin(ctx, c, &said)
		if err == nil {
			return cluster, nil
		}
		if !again(err) {
			return "", err
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func again(err error) bool {
	for _, e := range []error{rpctypes.ErrUnhealthy, rpctypes.ErrTooManyLearners, rpctypes.ErrNoLeader, rpctypes.ErrTimeout, rpctypes.ErrLeaderChanged, context.DeadlineExceeded} {
		if errors.Is(err, e) || strings.Contains(err.Error(), e.Error()) {
			return true
		}
	}
	return strings.Contains(err.Error(), "re-configuration failed") || strings.Contains(err.Error(), "too many learner")
}

func (s *Store) tryJoin(ctx context.Context, c *clientv3.Client, said *bool) (string, error) {
	call, cancel := context.WithTimeout(ctx, 7*time.Second)
	defer cancel()
	list, err := c.MemberList(call)
	if err != nil {
		return "", err
	}
	var cluster []string
	member := false
	for _, m := range list.Members {
		name := m.Name
		if name == "" && hasHost(m.PeerURLs, s.o.NodeIP) {
			name = s.name // added before, never started
		}
		if name == s.name && hasHost(m.PeerURLs, s.o.NodeIP) {
			member = true
		} else if nodeOf(name) == s.o.NodeName {
			_ = os.Remove(s.o.Paths.Etcd("name"))
			return "", ErrDuplicateName
		}
		if len(m.PeerURLs) > 0 {
			cluster = append(cluster, name+"="+m.PeerURLs[0])
		}
	}
	if !member {
		if !*said {
			logx.Infof("Adding member %s=%s to etcd cluster %v", s.name, s.peerURL(), cluster)
			*said = true
		}
		if _, err := c.MemberAddAsLearner(call, []string{s.peerURL()}); err != nil {
			return "", err
		}
		cluster = append(cluster, s.name+"="+s.peerURL())
	}
	return strings.Join(cluster, ","), nil
}

// nodeOf is the node's name in a member's name: what stands before the last hyphen.
func nodeOf(member string) string {
	if i := strings.LastIndexByte(member, '-'); i > 0 {
		return member[:i]
	}
	return member
}

func hasHost(peerURLs []string, host string) bool {
	for _, p := range peerURLs {
		if u, err := url.Parse(p); err == nil && u.Hostname() == host {
			return true
		}
	}
	return false
}
