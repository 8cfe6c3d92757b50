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
	apiapp "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apioptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

// flagsMu keeps components from making and reading their flags at the same time: they share one registry of gates.
var flagsMu sync.Mutex

// readFlags does what each component's command does with its flags: register the gates, make the flags, parse, set the
// gates. No component may make its flags while another does so.
func readFlags(make func() error) error {
	flagsMu.Lock()
	defer flagsMu.Unlock()
	featuregate.DefaultComponentGlobalsRegistry.ComponentGlobalsOrRegister(
		featuregate.DefaultKubeComponent, utilversion.DefaultBuildEffectiveVersion(), utilfeature.DefaultMutableFeatureGate)
	if err := make(); err != nil {
		return err
	}
	return featuregate.DefaultComponentGlobalsRegistry.Set()
}

// runAPIServer runs until ctx ends. The handler is published as soon as the server chain exists.
func (c *Components) runAPIServer(ctx context.Context, args arguments) error {
	effective := arguments{"advertise-address": {c.o.Config.NodeIP}}
	for k, v := range args {
		effective[k] = v
	}
	var opts *apioptions.ServerRunOptions
	err := readFlags(func() error {
		opts = apioptions.NewServerRunOptions()
		fs := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
		fs.SetNormalizeFunc(normalize)
		for _, set := range opts.Flags().FlagSets {
			fs.AddFlagSet(set)
		}
		return fs.Parse(effective.flags(notUpstream...))
	})
	if err != nil {
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
