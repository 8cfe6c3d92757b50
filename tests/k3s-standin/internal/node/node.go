// Package node is the agent: the join with its failures, and a simulated kubelet.
package node

import (
	"context"

	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
)

// Options are what a server gives to its own agent.
type Options struct {
	Config *config.Config
	Paths  paths.Data
	// Server is the supervisor's URL: https://127.0.0.1:6443 on a server.
	Server string
	// Token is the short or full token with which configuration and certificates are fetched.
	Token string
	// ControlPlane and Etcd are the roles in the Node's labels.
	ControlPlane, Etcd bool
	// Annotations are put on the Node at every start.
	Annotations func() map[string]string
	// APIReady is closed when the apiserver is ready; nil on agents, which ask for themselves.
	APIReady <-chan struct{}
	// Up is called once, when the agent "is up and running".
	Up func()
}

// Run runs the node until ctx ends. An error that ends it is fatal for the process.
func Run(ctx context.Context, o Options) error { <-ctx.Done(); return nil }

// Command runs `k3s agent ARGS`.
func Command(args []string, io logx.Streams) int { return 0 }
