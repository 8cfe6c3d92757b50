package encryption

import (
	"context"

	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/paths"
	"hmco-boot/k3s-standin/internal/supervisor"
)

// Ensure makes encryption-config.json and encryption-state.json when secrets-encryption is on and they are missing. The
// server calls it after disk and bootstrap record have been reconciled and before the apiserver starts.
func Ensure(cfg *config.Config, p paths.Data) error { return nil }

// Run is started when the server is ready: annotation of the own Node, unfinished work. It returns when ctx ends.
func Run(ctx context.Context, d supervisor.Deps) {}

// Annotations are put on the own Node when the node registers (k3s.io/encryption-config-hash).
func Annotations(cfg *config.Config, p paths.Data) map[string]string { return nil }
