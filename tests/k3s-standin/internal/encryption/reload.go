package encryption

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"

	"hmco-boot/k3s-standin/internal/faults"
)

// The apiserver's metrics about its configuration; there is nothing else that tells of a reload.
const (
	reloadsMetric   = "apiserver_encryption_config_controller_automatic_reloads_total"
	timestampMetric = "apiserver_encryption_config_controller_automatic_reload_last_timestamp_seconds"
)

var errNoMetric = errors.New("encryption config time metric not found")

// waiting is how rotate-keys waits: it looks every so often, and gives up after one period of the apiserver. Whoever
// starts right after a look of the apiserver therefore loses.
type waiting struct {
	poll  time.Duration
	limit time.Duration
	read  func(ctx context.Context, client kubernetes.Interface) ([]byte, error)
}

func waitingFor(period time.Duration) waiting {
	return waiting{poll: period / 12, limit: period, read: readMetrics}
}

// reloads is what the metrics say: how often, and when (unix seconds).
type reloads struct {
	count int64
	when  int64
}

func readMetrics(ctx context.Context, client kubernetes.Interface) ([]byte, error) {
	return client.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
}

// look reads the metrics; none yet means no reload since the start.
func (w waiting) look(ctx context.Context, client kubernetes.Interface) reloads {
	data, err := w.read(ctx, client)
	if err != nil {
		return reloads{}
	}
	now, _ := parseReloads(data)
	return now
}

// reload waits until the apiserver has reloaded once more than before, and returns how often it has since its start.
func (w waiting) reload(ctx context.Context, client kubernetes.Interface, before reloads) (int64, error) {
	limited, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	tick := time.NewTicker(w.poll)
	defer tick.Stop()
	last := errNoMetric
	found := false
	for {
		select {
		case <-limited.Done():
			if !found {
				return 0, fmt.Errorf("Get \"https://127.0.0.1:6444/metrics?timeout=15m0s\": %w: %v: ", limited.Err(), last)
			}
			return 0, fmt.Errorf("%w: %v", limited.Err(), last)
		case <-tick.C:
		}
		if limited.Err() != nil {
			continue
		}
		data, err := w.read(limited, client)
		if err != nil {
			continue
		}
		now, ok := parseReloads(data)
		if !ok {
			continue
		}
		found = true
		if now.count > before.count && faults.AtContext(limited, "rotate-keys.reload") == nil {
			return now.count, nil
		}
		last = fmt.Errorf("apiserver has not reloaded encryption configuration (reload success: %d/%d, reload timestamp %d/%d)",
			now.count, before.count, now.when, before.when)
	}
}

// parseReloads finds the two metrics of successful reloads in the apiserver's text.
func parseReloads(data []byte) (reloads, bool) {
	var out reloads
	found := false
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(make([]byte, 0, 64*1024), 1024*1024)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, "apiserver_encryption_config_controller") || !strings.Contains(line, `status="success"`) {
			continue
		}
		end := strings.LastIndexByte(line, ' ')
		number, err := strconv.ParseFloat(line[end+1:], 64)
		if err != nil {
			continue
		}
		switch {
		case strings.HasPrefix(line, reloadsMetric+"{"):
			out.count, found = int64(number), true
		case strings.HasPrefix(line, timestampMetric+"{"):
			out.when = int64(number)
		}
	}
	return out, found
}
