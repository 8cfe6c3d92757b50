// Package components runs the Kubernetes parts of a server in this process: apiserver, controller-manager, scheduler.
package components

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/paths"
)

// Options say what to run.
type Options struct {
	Config *config.Config
	Paths  paths.Data
	Etcd   string // client URL
	// Connected is closed when the datastore answers; the apiserver starts then.
	Connected <-chan struct{}
	// Fatal is called once when a component ends although it should not: name and cause.
	Fatal func(name string, err error)
	// Wrap is put around the apiserver's handler on its own port as well as on 6443 (faults).
	Wrap func(http.Handler) http.Handler
}

// Components are the running parts.
type Components struct {
	o       Options
	handler atomic.Pointer[http.Handler]
	ready   chan struct{}

	stopControllers context.CancelFunc
	stopAPI         context.CancelFunc
	controllers     sync.WaitGroup
	api             sync.WaitGroup
}

// Start announces and starts everything; it returns at once. Controllers start when the apiserver is ready.
func Start(ctx context.Context, o Options) *Components {
	c := &Components{o: o, ready: make(chan struct{})}
	apiArgs, schedArgs, cmArgs := apiServerArgs(o), schedulerArgs(o.Config, o.Paths), controllerManagerArgs(o.Config, o.Paths)
	announce("kube-apiserver", apiArgs)
	if !o.Config.DisableScheduler {
		announce("kube-scheduler", schedArgs)
	}
	announce("kube-controller-manager", cmArgs)
	if !o.Config.DisableCCM {
		announce("cloud-controller-manager", cloudControllerArgs(o.Config, o.Paths))
	}
	// The parts end in order (Stop), not with ctx.
	apiCtx, stopAPI := context.WithCancel(context.WithoutCancel(ctx))
	ctlCtx, stopControllers := context.WithCancel(context.WithoutCancel(ctx))
	c.stopAPI, c.stopControllers = stopAPI, stopControllers
	c.api.Add(1)
	go func() {
		defer c.api.Done()
		select {
		case <-o.Connected:
		case <-apiCtx.Done():
			return
		}
		if err := c.runAPIServer(apiCtx, apiArgs); apiCtx.Err() == nil {
			o.Fatal("apiserver", err)
		}
	}()
	go c.watchReady(apiCtx)
	c.controller(ctlCtx, "kube-controller-manager", cmArgs, "controller.kubeconfig", runControllerManager)
	if !o.Config.DisableScheduler {
		c.controller(ctlCtx, "kube-scheduler", schedArgs, "scheduler.kubeconfig", runScheduler)
	}
	return c
}

// controller runs one elected component once the apiserver is ready.
func (c *Components) controller(ctx context.Context, name string, args arguments, kubeconfig string, run func(context.Context, arguments) error) {
	c.controllers.Add(1)
	go func() {
		defer c.controllers.Done()
		select {
		case <-c.ready:
		case <-ctx.Done():
			return
		}
		err := elected(ctx, c.o, name, c.o.Paths.Cred(kubeconfig), func(ctx context.Context) error { return run(ctx, args) })
		if ctx.Err() == nil {
			c.o.Fatal(name, err)
		}
	}()
}

// Elected runs f while this server holds the lease of that name in kube-system; losing it ends the process, as in K3s.
func (c *Components) Elected(ctx context.Context, name string, f func(context.Context)) {
	c.controllers.Add(1)
	defer c.controllers.Done()
	err := elected(ctx, c.o, name, c.o.Paths.Cred("supervisor.kubeconfig"), func(ctx context.Context) error {
		f(ctx)
		<-ctx.Done()
		return nil
	})
	if ctx.Err() == nil {
		c.o.Fatal(name, err)
	}
}

// Handler is the apiserver's whole handler (authentication included), nil until it exists.
func (c *Components) Handler() http.Handler {
	if h := c.handler.Load(); h != nil {
		return *h
	}
	return nil
}

// Ready is closed when the apiserver's /readyz has said ok for the first time.
func (c *Components) Ready() <-chan struct{} { return c.ready }

// StopControllers ends the controllers and gives their leases back.
func (c *Components) StopControllers() {
	c.stopControllers()
	wait(&c.controllers, 1500*time.Millisecond)
}

// Stop stops controllers, then the apiserver; it returns when they have ended, or after a limit.
func (c *Components) Stop() {
	c.StopControllers()
	c.handler.Store(nil)
	c.stopAPI()
	wait(&c.api, 700*time.Millisecond)
}

func wait(wg *sync.WaitGroup, limit time.Duration) {
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(limit):
	}
}

// watchReady asks /readyz until it says ok.
func (c *Components) watchReady(ctx context.Context) {
	var client *kubernetes.Clientset
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
		if c.Handler() == nil {
			continue
		}
		if client == nil {
			admin, err := Admin(c.o.Paths)
			if err != nil {
				continue
			}
			if client, err = kubernetes.NewForConfig(admin); err != nil {
				continue
			}
		}
		call, cancel := context.WithTimeout(ctx, 5*time.Second)
		body, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(call)
		cancel()
		if err == nil && string(body) == "ok" {
			close(c.ready)
			return
		}
	}
}

// Admin is the client configuration of system:admin (system:masters) towards this server's apiserver.
func Admin(p paths.Data) (*rest.Config, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", p.Cred("admin.kubeconfig"))
	if err != nil {
		return nil, err
	}
	cfg.QPS, cfg.Burst = 50, 100
	return cfg, nil
}
