package node

import (
	"context"

	"hmco-boot/k3s-standin/internal/supervisor"
)

// Register adds the calls with which nodes join: configuration, certificates, addresses of apiservers, tunnel.
func Register(s *supervisor.Supervisor, d supervisor.Deps) {}

// Controllers runs what the servers do for all nodes: node passwords of deleted Nodes, volumes of local-path. It is to
// be started once d.Ready is closed on every server, chooses one of them by a lease, and returns when ctx ends.
func Controllers(ctx context.Context, d supervisor.Deps) {}
