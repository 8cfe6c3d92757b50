package kubelet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
)

// Options are what a kubelet is given.
type Options struct {
	Name string // of the Node
	IP   string
	// Client acts as system:node:NAME.
	Client kubernetes.Interface
	// Admin puts on the labels that a node may not give itself; nil on agents.
	Admin       kubernetes.Interface
	Version     string
	Labels      map[string]string
	RoleLabels  map[string]string // only with Admin
	Annotations func() map[string]string
	Taints      []v1.Taint
	// Reboot says that the machine was started since this node last ran.
	Reboot bool
	// Certificate is the serving certificate, ClientCA what callers' certificates must be signed by.
	Certificate func() (*tls.Certificate, error)
	ClientCA    *x509.CertPool
	Listen      string // ":10250"; empty: no server
	Timings     Timings
	Now         func() time.Time
	Images      func(image string) (mode string, found bool)
	Log         func(format string, args ...any)
	// Registered is called once the Node exists and has been brought up to date.
	Registered func()
}

// Kubelet is a running simulated kubelet.
type Kubelet struct {
	o      Options
	events record.EventRecorder
	pods   *pods
}

// Run runs the kubelet until ctx ends. It returns early only when its port
// cannot be had.
func Run(ctx context.Context, o Options) error {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedv1.EventSinkImpl{Interface: o.Client.CoreV1().Events("")})
	defer broadcaster.Shutdown()
	k := &Kubelet{o: o, events: broadcaster.NewRecorder(scheme.Scheme, v1.EventSource{Component: "kubelet", Host: o.Name})}
	k.pods = newPods(k)

	failed := make(chan error, 1)
	if o.Listen != "" {
		stop, err := k.serve(failed)
		if err != nil {
			return err
		}
		defer stop()
	}
	if err := k.register(ctx); err != nil {
		return nil // only ctx ends it
	}
	if o.Registered != nil {
		o.Registered()
	}
	go k.heartbeat(ctx)

	factory := informers.NewSharedInformerFactoryWithOptions(o.Client, 0, informers.WithTweakListOptions(func(l *metav1.ListOptions) {
		l.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", o.Name).String()
	}))
	k.pods.watch(factory.Core().V1().Pods())
	factory.Start(ctx.Done())
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.pods.run(ctx)
	}()
	select {
	case <-ctx.Done():
	case err := <-failed:
		return err
	}
	<-done
	return nil
}

// nodeRef is the Node as events name it: kubelets use the name as its UID.
func (k *Kubelet) nodeRef() *v1.ObjectReference {
	return &v1.ObjectReference{Kind: "Node", Name: k.o.Name, UID: uid(k.o.Name)}
}
