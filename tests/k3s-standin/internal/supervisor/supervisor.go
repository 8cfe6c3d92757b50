// Package supervisor serves the port 6443: K3s' own calls, and the apiserver behind them.
package supervisor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"

	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/datastore"
	"hmco-boot/k3s-standin/internal/paths"
)

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
	// SaveBootstrap collects the shared files and writes the bootstrap record, whatever is there.
	SaveBootstrap func(ctx context.Context) error
	// Stop ends the server as SIGTERM would.
	Stop func()
}

// Supervisor is the server on 6443.
type Supervisor struct {
	routes  map[string]route
	users   []user
	apiCall atomic.Pointer[http.Handler]
	started atomic.Bool
	cert    atomic.Pointer[tls.Certificate]
	server  *http.Server
	auth    certAuth
}

type route struct {
	auth    Auth
	handler http.Handler
}

// New makes a supervisor without any calls.
func New() *Supervisor { return &Supervisor{routes: map[string]route{}} }

// Handle registers a call; pattern is a path, or a prefix when it ends in "/". To be used before SetStarted.
func (s *Supervisor) Handle(pattern string, auth Auth, h http.Handler) {
	s.routes[pattern] = route{auth: auth, handler: h}
}

// SetAPIServer puts the apiserver behind the supervisor; nil takes it away.
func (s *Supervisor) SetAPIServer(h http.Handler) {
	if h == nil {
		s.apiCall.Store(nil)
		return
	}
	s.apiCall.Store(&h)
}

// SetStarted lets calls through; before, everything is answered 503 "starting".
func (s *Supervisor) SetStarted() { s.started.Store(true) }

// SetCertificate changes the certificate of new connections.
func (s *Supervisor) SetCertificate(c *tls.Certificate) { s.cert.Store(c) }

// Listen starts serving on address (":6443"); it returns once the port is bound.
func (s *Supervisor) Listen(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	s.server = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       90 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			ClientAuth: tls.RequestClientCert,
			NextProtos: []string{"h2", "http/1.1"},
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				if c := s.cert.Load(); c != nil {
					return c, nil
				}
				return nil, errors.New("no certificate yet")
			},
		},
	}
	go func() { _ = s.server.ServeTLS(l, "", "") }()
	return nil
}

// Close ends all connections.
func (s *Supervisor) Close() {
	if s.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_ = s.server.Shutdown(ctx)
	_ = s.server.Close()
}

func (s *Supervisor) serve(w http.ResponseWriter, r *http.Request) {
	if !s.started.Load() {
		SendError(errors.New("starting"), w, r, http.StatusServiceUnavailable)
		return
	}
	if rt, ok := s.find(r.URL.Path); ok {
		if s.allowed(rt.auth, w, r) {
			rt.handler.ServeHTTP(w, r)
		}
		return
	}
	if h := s.apiCall.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	writeStatus(w, status{Message: "apiserver not ready", Reason: "ServiceUnavailable", Code: http.StatusServiceUnavailable})
}

// find takes the exact path first, then the longest prefix. Unknown paths below /v1-k3s/ belong to the supervisor too.
func (s *Supervisor) find(path string) (route, bool) {
	if rt, ok := s.routes[path]; ok {
		return rt, true
	}
	best := ""
	for pattern := range s.routes {
		if strings.HasSuffix(pattern, "/") && strings.HasPrefix(path, pattern) && len(pattern) > len(best) {
			best = pattern
		}
	}
	if best != "" {
		return s.routes[best], true
	}
	if strings.HasPrefix(path, "/v1-k3s/") {
		return route{auth: NodeOrServer, handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			SendError(fmt.Errorf("%s not found", path), w, r, http.StatusNotFound)
		})}, true
	}
	return route{}, false
}
