package datastore

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
	"hmco-boot/k3s-standin/internal/pki"
)

// running starts a real etcd on loopback.
func running(t *testing.T) (context.Context, *Store) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:"+otherClient)
	if err != nil {
		t.Skipf("SKIPPED: the port of the temporary etcd is taken: %v", err)
	}
	_ = l.Close()
	old := logx.SetOutput(io.Discard)
	t.Cleanup(func() { logx.SetOutput(old) })
	p := paths.New(t.TempDir())
	if err := pki.EnsureCAs(p); err != nil {
		t.Fatal(err)
	}
	if err := pki.EnsureLeaves(p, pki.Names{NodeName: "n1", NodeIP: "127.0.0.1", ServiceIP: "10.43.0.1", ClusterDomain: "cluster.local"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	s, err := Start(ctx, Options{Paths: p, NodeName: "n1", NodeIP: "127.0.0.1", Dir: p.DB("etcd-tmp")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	for s.Test(ctx) != nil {
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
		time.Sleep(20 * time.Millisecond)
	}
	return ctx, s
}

func TestTheBootstrapRecordBelongsToItsToken(t *testing.T) {
	ctx, s := running(t)
	c := s.Client()
	if data, _, err := LoadBootstrap(ctx, c, "one"); data != nil || err != nil {
		t.Fatalf("empty: %q %v", data, err)
	}
	if created, err := SaveBootstrap(ctx, c, "one", []byte("a"), true); !created || err != nil {
		t.Fatalf("first: %v %v", created, err)
	}
	if created, err := SaveBootstrap(ctx, c, "one", []byte("b"), true); created || err != nil {
		t.Fatalf("second: %v %v", created, err)
	}
	if _, err := SaveBootstrap(ctx, c, "two", []byte("c"), true); !errors.Is(err, ErrOtherToken) {
		t.Fatalf("other token: %v", err)
	}
	if err := RekeyBootstrap(ctx, c, "one", "two", []byte("a")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := LoadBootstrap(ctx, c, "one"); !errors.Is(err, ErrOtherToken) {
		t.Fatalf("old token after the rotation: %v", err)
	}
	if data, _, err := LoadBootstrap(ctx, c, "two"); string(data) != "a" || err != nil {
		t.Fatalf("new token: %q %v", data, err)
	}
	if members, err := s.Members(ctx); err != nil || len(members) != 1 || members[0].Learner {
		t.Fatalf("members: %+v %v", members, err)
	}
}

func TestMembersNamesTellTheirNode(t *testing.T) {
	for name, node := range map[string]string{"n1-2da362d6": "n1", "a-b-2da362d6": "a-b", "x": "x", "": ""} {
		if got := nodeOf(name); got != node {
			t.Errorf("%q: %q", name, got)
		}
	}
	if !hasHost([]string{"https://10.0.0.1:2380"}, "10.0.0.1") || hasHost([]string{"https://10.0.0.11:2380"}, "10.0.0.1") {
		t.Error("hosts")
	}
}
