// Package certs is `k3s certificate`: its command line and its calls on the server.
package certs

import (
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/supervisor"
)

// Register adds the calls to the supervisor.
func Register(s *supervisor.Supervisor, d supervisor.Deps) {}

// Command runs `k3s certificate ARGS` and returns the exit status.
func Command(args []string, io logx.Streams) int { return 0 }
