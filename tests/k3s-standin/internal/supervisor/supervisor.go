// Package supervisor serves the port 6443: K3s' own calls, and the apiserver behind them.
package supervisor

import (
	"context"
	"net/http"

	"k8s.io/client-go/rest"

	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/datastore"
	"hmco-boot/k3s-standin/internal/paths"
)

// Auth is who may make a call.
type Auth int

// The kinds of callers: Anyone; a joined node or the server token; the server token (basic auth `server:PASSWORD`);
// the node token (`node:PASSWORD`); a node's client certificate; anyone on loopback or the server token.
const (
	Anyone Auth = iota
	NodeOrServer
	ServerToken
	NodeToken
	NodeCert
	LocalOrServer
)

// Supervisor is the server on 6443.
type Supervisor struct{}

// Handle registers a call; pattern is a path, or a prefix when it ends in "/". To be used before Serve.
func (s *Supervisor) Handle(pattern string, auth Auth, h http.Handler) {}

// Deps is what the parts that register calls may use. The functions answer nil until the thing exists.
type Deps struct {
	Config *config.Config
	Paths  paths.Data
	// Store is the running etcd, nil before.
	Store func() *datastore.Store
	// Admin is a client configuration of system:masters.
	Admin func() (*rest.Config, error)
	// Ready is closed when the apiserver is ready.
	Ready <-chan struct{}
	// Password is the token's password of this run (a token rotation does not change it).
	Password func() string
	// SaveBootstrap collects the shared files and writes the bootstrap record.
	SaveBootstrap func(ctx context.Context) error
	// Stop ends the server as SIGTERM would.
	Stop func()
}

// SendError answers as K3s does: a Status object, and a log line "Sending HTTP/1.1 CODE response to ADDR: ERR".
func SendError(err error, w http.ResponseWriter, r *http.Request, code int) {}

// Call makes a supervisor call with basic auth and returns the body; for the command-line side. method and path as in
// "PUT", "/v1-k3s/encrypt/config"; the token may be short or full (then the server's CA is checked against its hash).
func Call(ctx context.Context, server, token, method, path string, body []byte) ([]byte, error) {
	return nil, nil
}
