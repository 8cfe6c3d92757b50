package snapshot

// Restoring is etcdutl's own code; cron expressions are read as K3s does.
import (
	_ "github.com/robfig/cron/v3"
	_ "go.etcd.io/etcd/etcdutl/v3/snapshot"
)
