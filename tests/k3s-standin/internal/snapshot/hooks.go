package snapshot

import (
	"context"

	"hmco-boot/k3s-standin/internal/supervisor"
)

// Run is started when the datastore is connected: schedule, retention, ETCDSnapshotFile objects. It returns when ctx ends.
func Run(ctx context.Context, d supervisor.Deps) {}

// Reset is the whole of `k3s server --cluster-reset` after the line "Starting k3s ..." (checks, restore, etcd as a new
// cluster of one, files from the record, reset-flag, last message). An error is printed as
// "Error: ..." and ends with status 1; a panic is the caller's status 2.
func Reset(ctx context.Context, d supervisor.Deps) error { return nil }
