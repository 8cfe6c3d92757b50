package components

import (
	"context"
	"net/http"
	"sync"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/featuregate"
	utilversion "k8s.io/component-base/version"
	"k8s.io/klog/v2"
	apiapp "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apioptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

var gates sync.Once

// registerGates does what each component's command does before it makes its flags. It is done once for all of them.
func registerGates() {
	gates.Do(func() {
		featuregate.DefaultComponentGlobalsRegistry.ComponentGlobalsOrRegister(
			featuregate.DefaultKubeComponent, utilversion.DefaultBuildEffectiveVersion(), utilfeature.DefaultMutableFeatureGate)
		if err := featuregate.DefaultComponentGlobalsRegistry.Set(); err != nil {
			klog.ErrorS(err, "Failed to set feature gates")
		}
	})
}

// runAPIServer runs until ctx ends. The handler is published as soon as the server chain exists.
func (c *Components) runAPIServer(ctx context.Context, args arguments) error {
	registerGates()
	opts := apioptions.NewServerRunOptions()
	fs := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	fs.SetNormalizeFunc(normalize)
	for _, set := range opts.Flags().FlagSets {
		fs.AddFlagSet(set)
	}
	effective := args
	if _, given := args["advertise-address"]; !given {
		effective = arguments{}
		for k, v := range args {
			effective[k] = v
		}
		effective["advertise-address"] = []string{c.o.Config.NodeIP}
	}
	if err := fs.Parse(effective.flags(notUpstream...)); err != nil {
		return err
	}
	listener, err := listenAPI(c.o.Config.HTTPSListenPort)
	if err != nil {
		return err
	}
	opts.SecureServing.Listener = listener
	completed, err := opts.Complete(ctx)
	if err != nil {
		return err
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return utilerrors.NewAggregate(errs)
	}
	cfg, err := apiapp.NewConfig(completed)
	if err != nil {
		return err
	}
	if c.o.Wrap != nil {
		build := cfg.KubeAPIs.ControlPlane.Generic.BuildHandlerChainFunc
		_ = build
	}
	done, err := cfg.Complete()
	if err != nil {
		return err
	}
	listener.moved = true
	server, err := apiapp.CreateServerChain(done)
	if err != nil {
		return err
	}
	prepared, err := server.PrepareRun()
	if err != nil {
		return err
	}
	var h http.Handler = server.GenericAPIServer.Handler
	if c.o.Wrap != nil {
		h = c.o.Wrap(h)
	}
	c.handler.Store(&h)
	return prepared.Run(ctx)
}
