package encryption

import (
	"context"
	"os"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/server/options/encryptionconfig/controller"
	"k8s.io/client-go/kubernetes"

	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/paths"
	"hmco-boot/k3s-standin/internal/supervisor"
)

// reloadPeriod is how often the apiserver looks at its configuration, counted from its start.
const reloadPeriod = time.Minute

// The switch that shortens it for tests: a span of time ("5s") in the environment or in the file. rotate-keys' own
// waiting is shortened in the same measure, so that its lottery stays what it is.
const (
	reloadEnv  = "K3S_STANDIN_RELOAD_PERIOD"
	reloadFile = "/etc/rancher/k3s-standin/reload-period"
)

// coreDelay is how long after the server is ready K3s' controllers are still starting: until then status and changes end
// in an aborted connection ("EOF").
const coreDelay = 1500 * time.Millisecond

// The client that rewrites Secrets: about 200 a second, as measured on the real one.
const (
	clientQPS   = 200
	clientBurst = 200
)

// Ensure makes encryption-config.json and encryption-state.json when secrets-encryption is on and they are missing. The
// server calls it after disk and bootstrap record have been reconciled and before the apiserver starts.
func Ensure(cfg *config.Config, p paths.Data) error {
	controller.EncryptionConfigFileChangePollDuration = period()
	if !cfg.EncryptSecrets {
		return nil
	}
	return ensureFiles(p.EncryptionConfig(), p.EncryptionState())
}

func period() time.Duration {
	text := os.Getenv(reloadEnv)
	if text == "" {
		data, err := os.ReadFile(reloadFile)
		if err != nil {
			return reloadPeriod
		}
		text = strings.TrimSpace(string(data))
	}
	got, err := time.ParseDuration(text)
	if err != nil || got <= 0 {
		logx.Warnf("stand-in: %q is no reload period, using %s", text, reloadPeriod)
		return reloadPeriod
	}
	return got
}

// Run is started when the server is ready: the Node is put to the stage of the state file, and from some moment on the
// calls are answered. It returns when ctx ends.
func Run(ctx context.Context, d supervisor.Deps) {
	admin, err := d.Admin()
	if err != nil {
		logx.Errorf("Failed to start secrets encryption controllers: %v", err)
		return
	}
	limited := *admin
	limited.QPS, limited.Burst = clientQPS, clientBurst
	client, err := kubernetes.NewForConfig(&limited)
	if err != nil {
		logx.Errorf("Failed to start secrets encryption controllers: %v", err)
		return
	}
	if value, ok := Annotations(d.Config, d.Paths)[HashAnnotation]; ok {
		// A new Node is not there yet; it brings its annotation along.
		_ = (&server{nodeName: d.Config.NodeName}).annotate(ctx, client, value)
	}
	select {
	case <-ctx.Done():
		return
	case <-time.After(coreDelay):
	}
	shared.start(ctx, client)
	<-ctx.Done()
	shared.start(ctx, nil)
}

// Annotations are put on the own Node when the node registers: the state file's content.
func Annotations(cfg *config.Config, p paths.Data) map[string]string {
	if !cfg.EncryptSecrets {
		return nil
	}
	state, err := os.ReadFile(p.EncryptionState())
	if err != nil {
		return nil
	}
	return map[string]string{HashAnnotation: string(state)}
}
