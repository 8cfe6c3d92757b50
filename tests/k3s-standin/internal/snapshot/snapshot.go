// Package snapshot is K3s' care for etcd snapshots: files and their names, schedule and retention, the
// ETCDSnapshotFile objects, the supervisor call behind `k3s etcd-snapshot`, the command itself, and
// `k3s server --cluster-reset`. S3 is not supported.
package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/supervisor"
	"hmco-boot/k3s-standin/internal/usage"
)

// snapshotPath is the supervisor's call.
const snapshotPath = "/db/snapshot"

// callLimit is how long the command waits.
const callLimit = 2 * time.Minute

// The operations of the call.
const (
	opSave   = "save"
	opList   = "list"
	opPrune  = "prune"
	opDelete = "delete"
)

// request is the call's body.
type request struct {
	Operation string   `json:"operation"`
	Name      []string `json:"name,omitempty"`
	Dir       string   `json:"dir,omitempty"`
	Compress  bool     `json:"compress,omitempty"`
	Retention int      `json:"retention,omitempty"`
}

// result is the answer to save, prune and delete. A save that failed while writing is answered with nothing at all.
type result struct {
	Created []string `json:"created,omitempty"`
	Deleted []string `json:"deleted,omitempty"`
}

var commandFlags = []config.Flag{
	{Names: []string{"debug"}, Kind: config.Bool, Env: "K3S_DEBUG", Usage: "(logging) Turn on debug logs"},
	{
		Names: []string{"config", "c"}, Default: "/etc/rancher/k3s/config.yaml", Env: "K3S_CONFIG_FILE",
		Usage: "(config) Load configuration from `FILE`",
	},
	{Names: []string{"log", "l"}, Usage: "(logging) Log to file"},
	{Names: []string{"alsologtostderr"}, Kind: config.Bool, Usage: "(logging) Log to standard error as well as file (if set)"},
	{Names: []string{"node-name"}, Env: "K3S_NODE_NAME", Usage: "(agent/node) Node name"},
	usage.DataDir,
	{Names: []string{"etcd-token", "t"}, Usage: "(cluster) Shared secret used to authenticate to etcd server"},
	{
		Names: []string{"etcd-server", "s"}, Default: usage.DefaultServer,
		Usage: "(cluster) Server with etcd role to connect to for snapshot management operations",
	},
	{
		Names: []string{"dir", "etcd-snapshot-dir"},
		Usage: "(db) Directory to save etcd on-demand snapshot. (default: ${data-dir}/server/db/snapshots)",
	},
	{
		Names: []string{"name"}, Default: "on-demand",
		Usage: "(db) Set the base name of the etcd on-demand snapshot (appended with UNIX timestamp).",
	},
	{Names: []string{"snapshot-compress", "etcd-snapshot-compress"}, Kind: config.Bool, Usage: "(db) Compress etcd snapshot"},
	{
		Names: []string{"snapshot-retention", "etcd-snapshot-retention"}, Kind: config.Int, Default: "5",
		Usage: "(db) Number of snapshots to retain.",
	},
	{Names: []string{"s3", "etcd-s3"}, Kind: config.Bool, Usage: "(db) Enable backup to S3"},
	{Names: []string{"s3-endpoint", "etcd-s3-endpoint"}, Default: "s3.amazonaws.com", Usage: "(db) S3 endpoint url"},
	{Names: []string{"s3-endpoint-ca", "etcd-s3-endpoint-ca"}, Usage: "(db) S3 custom CA cert to connect to S3 endpoint"},
	{
		Names: []string{"s3-skip-ssl-verify", "etcd-s3-skip-ssl-verify"}, Kind: config.Bool,
		Usage: "(db) Disables S3 SSL certificate validation",
	},
	{Names: []string{"s3-access-key", "etcd-s3-access-key"}, Env: "AWS_ACCESS_KEY_ID", Usage: "(db) S3 access key"},
	{Names: []string{"s3-secret-key", "etcd-s3-secret-key"}, Env: "AWS_SECRET_ACCESS_KEY", Usage: "(db) S3 secret key"},
	{Names: []string{"s3-session-token", "etcd-s3-session-token"}, Env: "AWS_SESSION_TOKEN", Usage: "(db) S3 session token"},
	{Names: []string{"s3-bucket", "etcd-s3-bucket"}, Usage: "(db) S3 bucket name"},
	{
		Names: []string{"s3-region", "etcd-s3-region"}, Default: "us-east-1",
		Usage: "(db) S3 region / bucket location (optional)",
	},
	{Names: []string{"s3-folder", "etcd-s3-folder"}, Usage: "(db) S3 folder"},
	{
		Names: []string{"s3-proxy", "etcd-s3-proxy"},
		Usage: "(db) Proxy server to use when connecting to S3, overriding any proxy-releated environment variables",
	},
	{
		Names: []string{"s3-config-secret", "etcd-s3-config-secret"},
		Usage: "(db) Name of secret in the kube-system namespace used to configure S3, if etcd-s3 is enabled and no other etcd-s3 options are set",
	},
	{Names: []string{"s3-insecure", "etcd-s3-insecure"}, Kind: config.Bool, Usage: "(db) Disables S3 over HTTPS"},
	{Names: []string{"s3-timeout", "etcd-s3-timeout"}, Kind: config.Duration, Default: "5m0s", Usage: "(db) S3 timeout"},
}

var listFlag = config.Flag{Names: []string{"output", "o"}, Usage: "(db) List format. Default: standard. Optional: json, yaml"}

// Command runs `k3s etcd-snapshot ARGS` and returns the exit status.
func Command(args []string, io logx.Streams) int {
	leaf := func(name, about string, run func(*config.Values, logx.Streams) error, more ...config.Flag) *usage.Command {
		return &usage.Command{
			Path: "k3s etcd-snapshot " + name, About: about, ReadsFile: true, Run: run,
			Flags: append(append([]config.Flag{}, commandFlags...), more...),
		}
	}
	list := leaf("ls", "List snapshots", runList, listFlag)
	list.Aliases = []string{"list", "l"}
	root := &usage.Command{
		Path: "k3s etcd-snapshot", About: "Manage etcd snapshots",
		Commands: []*usage.Command{
			leaf("save", "Trigger an immediate etcd snapshot", runSave),
			leaf("delete", "Delete given snapshot(s)", runDelete),
			list,
			leaf("prune", "Remove snapshots that match the name prefix that exceed the configured retention count", runPrune),
		},
	}
	return root.Execute(args, io)
}

func runSave(v *config.Values, _ logx.Streams) error {
	if len(v.Rest) > 0 {
		return errors.New("too many arguments") // as the real one: save takes none
	}
	done, err := operate(v, request{Operation: opSave, Name: []string{v.Text("name")}, Compress: v.Bool("snapshot-compress")})
	if err != nil {
		return err
	}
	for _, name := range done.Created {
		logx.Infof("Snapshot %s saved.", name)
	}
	return nil
}

func runDelete(v *config.Values, _ logx.Streams) error {
	if len(v.Rest) == 0 {
		return errors.New("no snapshots given for removal")
	}
	done, err := operate(v, request{Operation: opDelete, Name: v.Rest})
	if err != nil {
		return err
	}
	gone := map[string]bool{}
	for _, name := range done.Deleted {
		gone[name] = true
		logx.Infof("Snapshot %s deleted.", name)
	}
	for _, name := range v.Rest {
		if !gone[name] {
			logx.Warnf("Snapshot %s not found.", name)
		}
	}
	return nil
}

func runPrune(v *config.Values, _ logx.Streams) error {
	done, err := operate(v, request{Operation: opPrune, Name: []string{v.Text("name")}, Retention: v.Int("snapshot-retention")})
	if err != nil {
		return err
	}
	for _, name := range done.Deleted {
		logx.Infof("Snapshot %s deleted.", name)
	}
	return nil
}

func runList(v *config.Values, io logx.Streams) error {
	body, err := call(v, request{Operation: opList})
	if err != nil {
		return err
	}
	var list listing
	if err := json.Unmarshal(body, &list); err != nil {
		return err
	}
	return list.print(io.Out, v.Text("output"))
}

func operate(v *config.Values, req request) (result, error) {
	var out result
	body, err := call(v, req)
	if err == nil {
		err = json.Unmarshal(body, &out)
	}
	return out, err
}

func call(v *config.Values, req request) ([]byte, error) {
	req.Dir = v.Text("dir")
	token, err := usage.Token(v.Text("etcd-token"), usage.Paths(v))
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	body, err := supervisor.Call(ctx, v.Text("etcd-server"), token, "POST", snapshotPath, data)
	return body, usage.ServerError(err)
}
