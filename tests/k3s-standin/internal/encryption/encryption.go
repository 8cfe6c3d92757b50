// Package encryption is K3s' secrets encryption: the provider configuration and state file on disk, the stages of a
// rotation and the annotation that carries them, the supervisor calls behind `k3s secrets-encrypt`, the rewriting of
// Secrets through the apiserver, and the command itself. It does not decide when the apiserver looks at the
// configuration; it only waits for it.
package encryption

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/supervisor"
	"hmco-boot/k3s-standin/internal/usage"
)

// The supervisor's calls.
const (
	statusPath = "/v1-k3s/encrypt/status"
	configPath = "/v1-k3s/encrypt/config"
)

// How long the command waits for the server: rotate-keys waits for a look of the apiserver at its configuration.
const (
	callLimit       = 30 * time.Second
	rotateKeysLimit = 10 * time.Minute
)

// request is the body of PUT /v1-k3s/encrypt/config: a stage, or Enable.
type request struct {
	Stage  string `json:"stage,omitempty"`
	Enable *bool  `json:"enable,omitempty"`
	Force  bool   `json:"force,omitempty"`
	Skip   bool   `json:"skip,omitempty"`
}

var (
	tokenFlag = config.Flag{
		Names: []string{"token", "t"}, Env: "K3S_TOKEN",
		Usage: "(cluster) Shared secret used to join a server or agent to a cluster",
	}
	outputFlag = config.Flag{Names: []string{"output", "o"}, Usage: "Status format. Default: text. Optional: json"}
	forceFlag  = config.Flag{Names: []string{"f", "force"}, Kind: config.Bool, Usage: "Force this stage."}
	skipFlag   = config.Flag{Names: []string{"skip"}, Kind: config.Bool, Usage: "Skip removing old key"}
)

// Command runs `k3s secrets-encrypt ARGS` and returns the exit status.
func Command(args []string, io logx.Streams) int {
	common := []config.Flag{usage.DataDir, tokenFlag, usage.Server}
	put := func(name, about, said string, limit time.Duration, body func(*config.Values) request, more ...config.Flag) *usage.Command {
		return &usage.Command{
			Path: "k3s secrets-encrypt " + name, About: about, Flags: append(append([]config.Flag{}, common...), more...),
			Run: func(v *config.Values, io logx.Streams) error {
				data, err := json.Marshal(body(v))
				if err != nil {
					return err
				}
				if _, err := call(v, "PUT", configPath, data, limit); err != nil {
					return err
				}
				fmt.Fprintln(io.Out, said)
				return nil
			},
		}
	}
	stage := func(stage string) func(*config.Values) request {
		return func(v *config.Values) request {
			return request{Stage: stage, Force: v.Bool("f"), Skip: v.Bool("skip")}
		}
	}
	enable := func(on bool) func(*config.Values) request {
		return func(*config.Values) request { return request{Enable: &on} }
	}
	root := &usage.Command{
		Path: "k3s secrets-encrypt", About: "Control secrets encryption and keys rotation",
		Commands: []*usage.Command{
			{
				Path: "k3s secrets-encrypt status", About: "Print current status of secrets encryption",
				Flags: append(append([]config.Flag{}, common...), outputFlag), Run: printStatus,
			},
			put("enable", "Enable secrets encryption", "secrets-encryption enabled", callLimit, enable(true)),
			put("disable", "Disable secrets encryption", "secrets-encryption disabled", callLimit, enable(false)),
			put("prepare", "Prepare for encryption keys rotation", "prepare completed successfully", callLimit,
				stage(StagePrepare), forceFlag),
			put("rotate", "Rotate secrets encryption keys", "rotate completed successfully", callLimit,
				stage(StageRotate), forceFlag),
			put("reencrypt", "Reencrypt all data with new encryption key", "reencryption started", callLimit,
				stage(StageReencryptRequest), forceFlag, skipFlag),
			put("rotate-keys", "(experimental) Dynamically rotates secrets encryption keys and re-encrypt secrets",
				"keys rotated, reencryption started", rotateKeysLimit, stage(StageRotateKeys)),
		},
	}
	return root.Execute(args, io)
}

func printStatus(v *config.Values, io logx.Streams) error {
	body, err := call(v, "GET", statusPath, nil, callLimit)
	if err != nil {
		return err
	}
	var status Status
	if err := json.Unmarshal(body, &status); err != nil {
		return err
	}
	if v.Text("output") == "json" {
		return status.PrintJSON(io.Out)
	}
	return status.PrintText(io.Out)
}

// call makes the call with the token given or the server's own.
func call(v *config.Values, method, path string, body []byte, limit time.Duration) ([]byte, error) {
	token, err := usage.Token(v.Text("token"), usage.Paths(v))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	answer, err := supervisor.Call(ctx, v.Text("server"), token, method, path, body)
	return answer, usage.ServerError(err)
}
