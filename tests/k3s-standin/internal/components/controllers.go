package components

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
	cmapp "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	cmoptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	schedapp "k8s.io/kubernetes/cmd/kube-scheduler/app"
	schedoptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

// The times of the leases are upstream's defaults, so that a server without quorum ends after some 10 s as K3s does.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

func normalize(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
}

// elected runs f while the lease is held. A lease that is lost while ctx is alive ends the process with status 1, as
// upstream's components do; at a normal end the lease is given back, so that another server takes over at once.
func elected(ctx context.Context, o Options, name, kubeconfig string, f func(context.Context) error) error {
	if !o.Config.Etcd() {
		return f(ctx)
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	cfg.Timeout = renewDeadline / 2
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Name: name, Namespace: "kube-system"},
		Client:     client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: o.Config.NodeName + "_" + identity},
	}
	result := make(chan error, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		ReleaseOnCancel: true, Name: name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { result <- ending(ctx, f) },
			OnStoppedLeading: func() {
				if ctx.Err() == nil {
					klog.ErrorS(nil, "leaderelection lost")
					klog.Flush()
					os.Exit(1)
				}
			},
		},
	})
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { elector.Run(ctx); close(ended) }()
	select {
	case err := <-result:
		if ctx.Err() == nil && err == nil {
			err = errors.New("ended")
		}
		if ctx.Err() != nil {
			<-ended
		}
		return err
	case <-ended:
		return ctx.Err()
	}
}

// ending runs f. A component that is ended while it starts may panic: informers that have been stopped give it nil.
func ending(ctx context.Context, f func(context.Context) error) (err error) {
	defer func() {
		if ctx.Err() != nil && recover() != nil {
			err = ctx.Err()
		}
	}()
	return f(ctx)
}

// identity tells this run from other runs on the same node.
var identity = time.Now().UTC().Format("20060102T150405.000000000")

func runControllerManager(ctx context.Context, args arguments) error {
	all, off, aliases := cmapp.KnownControllers(), cmapp.ControllersDisabledByDefault(), cmapp.ControllerAliases()
	var opts *cmoptions.KubeControllerManagerOptions
	err := readFlags(func() (err error) {
		if opts, err = cmoptions.NewKubeControllerManagerOptions(); err != nil {
			return err
		}
		fs := pflag.NewFlagSet("kube-controller-manager", pflag.ContinueOnError)
		fs.SetNormalizeFunc(normalize)
		for _, set := range opts.Flags(all, off, aliases).FlagSets {
			fs.AddFlagSet(set)
		}
		// Without a folder of its own it makes one on the host.
		return fs.Parse(append(args.flags("leader-elect"), "--leader-elect=false", "--flex-volume-plugin-dir="+os.TempDir()+"/k3s-standin-none"))
	})
	if err != nil {
		return err
	}
	cfg, err := opts.Config(all, off, aliases)
	if err != nil {
		return err
	}
	return cmapp.Run(ctx, cfg.Complete())
}

func runScheduler(ctx context.Context, args arguments) error {
	var opts *schedoptions.Options
	err := readFlags(func() error {
		opts = schedoptions.NewOptions()
		fs := pflag.NewFlagSet("kube-scheduler", pflag.ContinueOnError)
		fs.SetNormalizeFunc(normalize)
		for _, set := range opts.Flags.FlagSets {
			fs.AddFlagSet(set)
		}
		return fs.Parse(append(args.flags("leader-elect"), "--leader-elect=false"))
	})
	if err != nil {
		return err
	}
	cfg, sched, err := schedapp.Setup(ctx, opts)
	if err != nil {
		return err
	}
	return schedapp.Run(ctx, cfg, sched)
}
