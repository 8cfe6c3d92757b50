// Package encryption is `k3s secrets-encrypt`: its command line and its calls on the server.
package encryption

import (
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/supervisor"
)

// Register adds the calls to the supervisor.
func Register(s *supervisor.Supervisor, d supervisor.Deps) {}

// Command runs `k3s secrets-encrypt ARGS` and returns the exit status.
func Command(args []string, io logx.Streams) int { return 0 }
