// Package components runs the Kubernetes parts of a server in this process: apiserver, controller-manager, scheduler.
package components

import (
	"context"
	"net/http"

	"k8s.io/client-go/rest"

	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/paths"
)

// Components are the running parts.
type Components struct{}

// Options say what to run.
type Options struct {
	Config *config.Config
	Paths  paths.Data
	Etcd   string // client URL
}

// Start starts everything; it returns at once. Controllers start when the apiserver is ready.
func Start(ctx context.Context, o Options) *Components { return nil }

// Handler is the apiserver's whole handler (authentication included), nil until it exists.
func (c *Components) Handler() http.Handler { return nil }

// Ready is closed when the apiserver's /readyz has said ok for the first time.
func (c *Components) Ready() <-chan struct{} { return nil }

// Stop stops controllers, then the apiserver; it returns when they have ended.
func (c *Components) Stop() {}

// Admin is the client configuration of system:admin (system:masters) towards this server's apiserver.
func Admin(p paths.Data) (*rest.Config, error) { return nil, nil }
