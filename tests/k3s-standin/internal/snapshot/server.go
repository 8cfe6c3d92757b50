package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/supervisor"
)

// manager answers the call and takes the scheduled snapshots of one server.
type manager struct {
	d       supervisor.Deps
	saving  sync.Mutex
	objects *objects
}

// saveLasts is how long a save takes at least, as the real one does: a second one meanwhile is refused.
const saveLasts = 400 * time.Millisecond

var (
	managersMu sync.Mutex
	managers   = map[string]*manager{}
)

// managerOf returns the one manager of a data folder: Register and Run share it.
func managerOf(d supervisor.Deps) *manager {
	managersMu.Lock()
	defer managersMu.Unlock()
	m := managers[d.Paths.Dir]
	if m == nil {
		m = &manager{d: d, objects: newObjects(d)}
		managers[d.Paths.Dir] = m
	}
	return m
}

// Register adds the call to the supervisor.
func Register(s *supervisor.Supervisor, d supervisor.Deps) {
	s.Handle(snapshotPath, supervisor.ServerToken, http.HandlerFunc(managerOf(d).handle))
}

func sendError(w http.ResponseWriter, r *http.Request, code int, err error) {
	id := fmt.Sprintf("etcd-snapshot error ID %05d", rand.IntN(100000))
	logx.Errorf("%s: %v", id, err)
	supervisor.SendError(errors.New(id), w, r, code)
}

func (m *manager) handle(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		supervisor.SendError(errors.New("method not allowed"), w, r, http.StatusMethodNotAllowed)
		return
	}
	var req request
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		sendError(w, r, http.StatusBadRequest, err)
		return
	}
	answer, err := m.answer(r.Context(), req)
	var body []byte
	if err == nil {
		body, err = json.Marshal(answer)
	}
	if err != nil {
		sendError(w, r, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

func (m *manager) answer(ctx context.Context, req request) (any, error) {
	switch req.Operation {
	case opList:
		dir, err := m.dir(req.Dir)
		if err != nil {
			return nil, err
		}
		files, err := List(dir, m.node())
		return listingOf(files), err
	case opSave:
		return m.onDemand(ctx, req)
	case opPrune:
		return m.pruneNow(ctx, req)
	case opDelete:
		return m.remove(ctx, req)
	default:
		return nil, fmt.Errorf("unknown operation %q", req.Operation)
	}
}

func (m *manager) node() string { return m.d.Config.NodeName }

// dir is the folder of a request, else of the configuration, else the default. Only the default is created.
func (m *manager) dir(asked string) (string, error) {
	if asked == "" {
		asked = m.d.Config.SnapshotDir
	}
	if standard := m.d.Paths.Snapshots(); asked == "" || asked == standard {
		if err := os.MkdirAll(standard, 0o700); err != nil {
			return "", fmt.Errorf("failed to get etcd-snapshot-dir: %w", err)
		}
		return standard, nil
	}
	if _, err := os.Stat(asked); err != nil {
		return "", fmt.Errorf("failed to get etcd-snapshot-dir: %w", err)
	}
	return asked, nil
}

func (m *manager) onDemand(ctx context.Context, req request) (result, error) {
	base := "on-demand"
	if len(req.Name) > 0 && req.Name[0] != "" {
		base = req.Name[0]
	}
	file, dir, err := m.take(ctx, req.Dir, base, req.Compress)
	if err != nil {
		return result{}, err
	}
	m.objects.saved(file)
	m.objects.reconcile(ctx, dir)
	if file.Failure != "" {
		return result{}, nil
	}
	return result{Created: []string{file.Name}}, nil
}

// take takes a snapshot unless another one is being taken or etcd does not answer.
func (m *manager) take(ctx context.Context, asked, base string, compress bool) (File, string, error) {
	if !m.saving.TryLock() {
		return File{}, "", errBusy
	}
	defer m.saving.Unlock()
	store := m.d.Store()
	if store == nil {
		return File{}, "", fmt.Errorf("etcd database not found in %s", m.d.Paths.Etcd())
	}
	if err := checkEtcd(ctx, store); err != nil {
		return File{}, "", err
	}
	dir, err := m.dir(asked)
	if err != nil {
		return File{}, "", err
	}
	begun := time.Now()
	file := save(ctx, store.Client(), dir, base, m.node(), compress)
	sleep(ctx, saveLasts-time.Since(begun))
	return file, dir, nil
}

func (m *manager) pruneNow(ctx context.Context, req request) (result, error) {
	dir, err := m.dir(req.Dir)
	if err != nil {
		return result{}, err
	}
	prefix := "on-demand"
	if len(req.Name) > 0 && req.Name[0] != "" {
		prefix = req.Name[0]
	}
	gone, err := prune(dir, m.node(), prefix, req.Retention)
	if err != nil {
		return result{}, err
	}
	m.objects.reconcile(ctx, dir)
	return result{Deleted: gone}, nil
}

// remove deletes files by name; one that is not there is no error.
func (m *manager) remove(ctx context.Context, req request) (result, error) {
	dir, err := m.dir(req.Dir)
	if err != nil {
		return result{}, err
	}
	var out result
	for _, name := range req.Name {
		err := errors.New("not a file name")
		if filepath.Base(name) == name {
			err = os.Remove(filepath.Join(dir, name))
		}
		if err != nil {
			logx.Infof("Snapshot %s not found locally", name)
			continue
		}
		logx.Infof("Snapshot %s deleted locally", name)
		out.Deleted = append(out.Deleted, name)
	}
	m.objects.reconcile(ctx, dir)
	return out, nil
}
