package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"hmco-boot/k3s-standin/internal/logx"
)

const balancerName = "k3s-agent-load-balancer"

// The states of a server behind the balancer, from bad to good.
const (
	stateFailed     = "FAILED"
	stateStandby    = "STANDBY"
	stateUnchecked  = "UNCHECKED"
	stateRecovering = "RECOVERING"
	stateHealthy    = "HEALTHY"
	stateActive     = "ACTIVE"
)

var preference = []string{stateActive, stateHealthy, stateRecovering, stateUnchecked, stateStandby, stateFailed}

const (
	dialTimeout   = 2 * time.Second
	checkInterval = 2 * time.Second
)

// upstream is one server behind the balancer.
type upstream struct {
	address string
	state   string
	conns   map[net.Conn]bool
}

// balancer passes connections to 127.0.0.1:6444 on to one of the servers: the
// one in use as long as it answers, else another.
type balancer struct {
	file      string // where the list outlives a restart
	serverURL string
	fallback  string // the address that the configuration names
	listener  net.Listener

	mu      sync.Mutex
	servers []*upstream // the configured one only as long as no list is known, or when it is in the list
	known   []string    // the list as the servers tell it
}

type balancerFile struct {
	ServerURL       string
	ServerAddresses []string
}

// startBalancer listens on address for connections to the server at serverURL.
func startBalancer(ctx context.Context, address, serverURL, file string) (*balancer, error) {
	fallback := strings.TrimPrefix(serverURL, "https://")
	if !strings.Contains(fallback, ":") {
		fallback += ":443"
	}
	b := &balancer{file: file, serverURL: serverURL, fallback: fallback}
	logx.Infof("Updated load balancer %s default server: %s", balancerName, fallback)
	b.servers = []*upstream{{address: fallback, state: stateStandby, conns: map[net.Conn]bool{}}}
	var stored balancerFile
	if data, err := os.ReadFile(file); err == nil && json.Unmarshal(data, &stored) == nil && stored.ServerURL == serverURL {
		b.set(stored.ServerAddresses)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	b.listener = listener
	logx.Infof("Running load balancer %s %s -> %v [default: %s]", balancerName, address, b.known, fallback)
	go b.accept()
	go b.check(ctx)
	go func() {
		<-ctx.Done()
		_ = listener.Close()
	}()
	return b, nil
}

// Set takes the list of servers that a server told, and remembers it.
func (b *balancer) Set(addresses []string) {
	if !b.set(addresses) {
		return
	}
	logx.Infof("Updated load balancer %s server addresses -> %v [default: %s]", balancerName, b.known, b.fallback)
	data, err := json.MarshalIndent(balancerFile{b.serverURL, b.known}, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(b.file), 0o755)
	}
	if err == nil {
		err = os.WriteFile(b.file, data, 0o644)
	}
	if err != nil {
		logx.Warnf("Failed to write %s: %v", b.file, err)
	}
}

func (b *balancer) set(addresses []string) (changed bool) {
	addresses = slices.Clone(addresses)
	slices.Sort(addresses)
	addresses = slices.Compact(addresses)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(addresses) == 0 || slices.Equal(addresses, b.known) {
		return false
	}
	b.known = addresses
	var list []*upstream
	for _, address := range addresses {
		u := b.find(address)
		if u == nil {
			u = &upstream{address: address, state: stateStandby, conns: map[net.Conn]bool{}}
		}
		if u.state == stateStandby {
			b.move(u, stateUnchecked, "add to load balancer "+balancerName)
		}
		list = append(list, u)
	}
	for _, u := range b.servers {
		switch {
		case slices.Contains(addresses, u.address):
		case u.address == b.fallback: // kept as the last resort
			if u.state != stateStandby {
				b.move(u, stateStandby, "remove from load balancer "+balancerName)
			}
			list = append(list, u)
		default:
			b.move(u, "INVALID", "remove from load balancer "+balancerName)
			u.closeAll()
		}
	}
	b.servers = list
	return true
}

func (b *balancer) find(address string) *upstream {
	for _, u := range b.servers {
		if u.address == address {
			return u
		}
	}
	return nil
}

func (b *balancer) move(u *upstream, state, why string) {
	if u.state == state {
		return
	}
	mark := ""
	if u.address == b.fallback {
		mark = "*"
	}
	logx.Infof("Server %s@%s%s->%s from %s", u.address, u.state, mark, state, why)
	u.state = state
}

func (u *upstream) closeAll() {
	for conn := range u.conns {
		_ = conn.Close()
	}
}

func (b *balancer) accept() {
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			return
		}
		go b.serve(conn)
	}
}

func (b *balancer) serve(client net.Conn) {
	defer client.Close()
	server, u, err := b.dial()
	if err != nil {
		return // the caller sees EOF or a reset, never a refusal
	}
	b.mu.Lock()
	u.conns[client] = true
	b.mu.Unlock()
	defer func() {
		_ = server.Close()
		b.mu.Lock()
		delete(u.conns, client)
		b.mu.Unlock()
	}()
	done := make(chan struct{}, 2)
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		_ = to.Close()
		_ = from.Close()
		done <- struct{}{}
	}
	go pass(server, client)
	pass(client, server)
	<-done
}

// order is the servers from the best to the worst.
func (b *balancer) order() []*upstream {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := slices.Clone(b.servers)
	slices.SortStableFunc(list, func(x, y *upstream) int {
		return slices.Index(preference, x.state) - slices.Index(preference, y.state)
	})
	return list
}

func (b *balancer) dial() (net.Conn, *upstream, error) {
	for _, u := range b.order() {
		conn, err := net.DialTimeout("tcp", u.address, dialTimeout)
		b.mu.Lock()
		if err == nil {
			if u.state == stateUnchecked || u.state == stateFailed {
				b.move(u, stateRecovering, "successful dial")
			}
			b.mu.Unlock()
			return conn, u, nil
		}
		if u.state != stateStandby {
			b.move(u, stateFailed, "failed dial")
		}
		b.mu.Unlock()
	}
	return nil, nil, fmt.Errorf("no server answers")
}

// check looks at every server now and then, and ends the connections to one
// that no longer answers, so that their owners connect to another.
func (b *balancer) check(ctx context.Context) {
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, u := range b.order() {
			if u.state == stateStandby {
				continue
			}
			conn, err := net.DialTimeout("tcp", u.address, dialTimeout)
			if err == nil {
				_ = conn.Close()
			}
			b.checked(u, err)
		}
	}
}

func (b *balancer) checked(u *upstream, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.move(u, stateFailed, "failed health check")
		u.closeAll()
		return
	}
	switch u.state {
	case stateRecovering:
		b.move(u, stateActive, "successful health check")
		for _, other := range b.servers {
			if other != u && other.state == stateActive {
				b.move(other, stateHealthy, "another server being in use")
			}
		}
	case stateUnchecked, stateFailed:
		b.move(u, stateHealthy, "successful health check")
	}
}
