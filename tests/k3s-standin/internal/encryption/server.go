package encryption

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/supervisor"
)

// core is what becomes there some time after the server is ready: until then calls that need it end in an aborted
// connection, as a nil pointer does in the real one.
type core struct {
	mu     sync.Mutex
	ctx    context.Context
	client kubernetes.Interface
}

var shared core

func (c *core) start(ctx context.Context, client kubernetes.Interface) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ctx, c.client = ctx, client
}

// get returns the client, or breaks off the request.
func (c *core) get() (context.Context, kubernetes.Interface) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		panic(http.ErrAbortHandler)
	}
	return c.ctx, c.client
}

// server answers the calls of one K3s server.
type server struct {
	core       *core
	configFile string // empty when secrets-encryption is off
	stateFile  string
	nodeName   string
	save       func(ctx context.Context) error
	wait       waiting
}

// Register adds the calls to the supervisor.
func Register(s *supervisor.Supervisor, d supervisor.Deps) {
	srv := &server{core: &shared, nodeName: d.Config.NodeName, save: d.SaveBootstrap, wait: waitingFor(period())}
	if d.Config.EncryptSecrets {
		srv.configFile, srv.stateFile = d.Paths.EncryptionConfig(), d.Paths.EncryptionState()
	}
	s.Handle(statusPath, supervisor.ServerToken, http.HandlerFunc(srv.handleStatus))
	s.Handle(configPath, supervisor.ServerToken, http.HandlerFunc(srv.handleConfig))
}

// sendError answers with a number only; the reason is in the journal under that number.
func sendError(w http.ResponseWriter, r *http.Request, code int, err error) {
	id := fmt.Sprintf("secret-encrypt error ID %05d", rand.IntN(100000))
	logx.Errorf("%s: %v", id, err)
	supervisor.SendError(errors.New(id), w, r, code)
}

func (s *server) handleStatus(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		supervisor.SendError(errors.New("method not allowed"), w, r, http.StatusMethodNotAllowed)
		return
	}
	status, err := s.status()
	if err == nil {
		var body []byte
		if body, err = json.Marshal(status); err == nil {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(body)
			return
		}
	}
	sendError(w, r, http.StatusInternalServerError, err)
}

func (s *server) status() (Status, error) {
	providers, err := Read(s.configFile)
	if errors.Is(err, os.ErrNotExist) {
		return Status{}, nil
	} else if err != nil {
		return Status{}, err
	}
	ctx, client := s.core.get()
	nodes, self, err := s.nodes(ctx, client)
	if err != nil {
		return Status{}, err
	}
	stage, _, err := StageOf(self)
	if err != nil {
		return Status{}, err
	}
	return StatusOf(providers, stage, CompareNodes(nodes)), nil
}

func (s *server) handleConfig(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut {
		supervisor.SendError(errors.New("method not allowed"), w, r, http.StatusMethodNotAllowed)
		return
	}
	var req request
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		sendError(w, r, http.StatusBadRequest, err)
		return
	}
	if err := s.change(req); err != nil {
		sendError(w, r, http.StatusBadRequest, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func (s *server) change(req request) error {
	switch {
	case req.Enable != nil:
		return s.enable(*req.Enable)
	case req.Stage == StagePrepare:
		return s.prepare(req.Force)
	case req.Stage == StageRotate:
		return s.rotate(req.Force)
	case req.Stage == StageReencryptRequest:
		return s.reencrypt(req.Force, req.Skip)
	case req.Stage == StageRotateKeys:
		return s.rotateKeys()
	default:
		return fmt.Errorf("unknown stage %s requested", req.Stage)
	}
}

// nodes lists the control-plane Nodes' annotations, and this server's own.
func (s *server) nodes(ctx context.Context, client kubernetes.Interface) ([]NodeState, NodeState, error) {
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: ControlPlaneLabel})
	if err != nil {
		return nil, NodeState{}, err
	}
	var out []NodeState
	for _, node := range list.Items {
		out = append(out, NodeState{Name: node.Name, Annotation: node.Annotations[HashAnnotation]})
	}
	self, err := client.CoreV1().Nodes().Get(ctx, s.nodeName, metav1.GetOptions{})
	if err != nil {
		return nil, NodeState{}, err
	}
	return out, NodeState{Name: self.Name, Annotation: self.Annotations[HashAnnotation]}, nil
}

// annotate sets the own Node's annotation.
func (s *server) annotate(ctx context.Context, client kubernetes.Interface, value string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{HashAnnotation: value}}})
	if err != nil {
		return err
	}
	_, err = client.CoreV1().Nodes().Patch(ctx, s.nodeName, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// enter writes stage and hash of the configuration on disk to the Node and to the state file.
func (s *server) enter(ctx context.Context, client kubernetes.Interface, stage string) error {
	hash, err := HashFile(s.configFile)
	if err != nil {
		return err
	}
	if err := s.annotate(ctx, client, stage+"-"+hash); err != nil {
		return err
	}
	return writeState(s.stateFile, stage, s.configFile)
}

// verify checks that the request may be made now.
func (s *server) verify(ctx context.Context, client kubernetes.Interface, requested string, force bool) error {
	nodes, self, err := s.nodes(ctx, client)
	if err == nil {
		err = Verify(requested, nodes, self, func() (string, error) { return HashFile(s.configFile) })
	}
	if force {
		return nil
	}
	return err
}
