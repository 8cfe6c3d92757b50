// Package deploy is what a K3s server puts into its cluster: its CRDs, the AddOns of server/manifests, HelmCharts' jobs,
// and the small objects (cluster-dns, k3s-serving, CoreDNS' NodeHosts) that tools look at.
package deploy

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/supervisor"
)

// Options say what to put into the cluster.
type Options struct {
	Deps supervisor.Deps
	// Serving is certificate and key of 6443, for the Secret k3s-serving.
	Serving map[string][]byte
}

type deployer struct {
	o       Options
	kube    kubernetes.Interface
	dynamic dynamic.Interface
	disco   discovery.CachedDiscoveryInterface
	mapper  meta.ResettableRESTMapper
}

// manager is the name K3s' own writes carry as field manager.
const manager = "deploy@k3s"

func newDeployer(o Options) (*deployer, error) {
	admin, err := o.Deps.Admin()
	if err != nil {
		return nil, err
	}
	cfg := rest.CopyConfig(admin)
	cfg.QPS, cfg.Burst = 100, 200
	cfg.UserAgent = "deploy@" + o.Deps.Config.NodeName
	d := &deployer{o: o}
	if d.kube, err = kubernetes.NewForConfig(cfg); err != nil {
		return nil, err
	}
	if d.dynamic, err = dynamic.NewForConfig(cfg); err != nil {
		return nil, err
	}
	d.disco = memory.NewMemCacheClient(d.kube.Discovery())
	d.mapper = restmapper.NewDeferredDiscoveryRESTMapper(d.disco)
	return d, nil
}

// Stage writes the packaged manifests that are not disabled into server/manifests. It is done at every start, before the
// apiserver is there.
func Stage(d supervisor.Deps) error { return stage(d) }

// Start makes the CRDs (an error there ends K3s: "failed to start controllers") and then keeps everything else up to
// date until ctx ends. It is to be called when the apiserver is ready.
func Start(ctx context.Context, o Options) error {
	d, err := newDeployer(o)
	if err != nil {
		return err
	}
	if err := d.ensureCRDs(ctx); err != nil {
		return fmt.Errorf("failed to register CRDs: %w", err)
	}
	go d.addons(ctx)
	go d.small(ctx)
	return nil
}

// Lead does what only one server of the cluster does: HelmCharts and CoreDNS' NodeHosts. It returns when
// ctx ends.
func Lead(ctx context.Context, o Options) {
	d, err := newDeployer(o)
	if err != nil {
		logx.Errorf("Failed to start controllers: %v", err)
		return
	}
	go d.charts(ctx)
	d.nodes(ctx)
}

// every calls f at once and then again and again, until ctx ends.
func every(ctx context.Context, period time.Duration, f func(context.Context) error, what string) {
	last := ""
	for {
		call, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := f(call)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil && err.Error() != last {
			logx.Errorf("Failed to %s: %v", what, err)
		}
		last = ""
		if err != nil {
			last = err.Error()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(period):
		}
	}
}
