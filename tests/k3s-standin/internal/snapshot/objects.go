package snapshot

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	typedcore "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"hmco-boot/k3s-standin/internal/datastore"
	"hmco-boot/k3s-standin/internal/events"
	"hmco-boot/k3s-standin/internal/logx"
	"hmco-boot/k3s-standin/internal/supervisor"
)

const (
	finalizer           = "wrangler.cattle.io/managed-etcd-snapshots-controller"
	timestampAnnotation = "etcd.k3s.cattle.io/local-snapshots-timestamp"
	eventSource         = "k3s-supervisor"
	reasonCreated       = "ETCDSnapshotCreated"
	reasonFailed        = "ETCDSnapshotFailed"
	failedKept          = 24 * time.Hour // objects of failed snapshots
	reconcileLimit      = 20 * time.Second
)

var resource = schema.GroupVersionResource{Group: "k3s.cattle.io", Version: "v1", Resource: "etcdsnapshotfiles"}

// objects keeps the ETCDSnapshotFile objects of this server. They follow one folder only, the one last worked in: a save
// into another folder makes the next reconciliation delete the objects of all other files, as in the real one.
type objects struct {
	d  supervisor.Deps
	mu sync.Mutex

	client   dynamic.Interface
	nodes    kubernetes.Interface
	recorder record.EventRecorder
	pending  []File // saved before there was an apiserver
}

func newObjects(d supervisor.Deps) *objects { return &objects{d: d} }

// start makes the clients once the apiserver is ready.
func (o *objects) start() error {
	admin, err := o.d.Admin()
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(admin)
	if err != nil {
		return err
	}
	typed, err := kubernetes.NewForConfig(admin)
	if err != nil {
		return err
	}
	broadcaster := record.NewBroadcaster()
	events.Print(broadcaster)
	broadcaster.StartRecordingToSink(&typedcore.EventSinkImpl{Interface: typed.CoreV1().Events(metav1.NamespaceDefault)})
	o.mu.Lock()
	defer o.mu.Unlock()
	o.client, o.nodes = client, typed
	o.recorder = broadcaster.NewRecorder(runtime.NewScheme(), corev1.EventSource{Component: eventSource})
	return nil
}

// object is the ETCDSnapshotFile of a file.
func (o *objects) object(file File) *unstructured.Unstructured {
	status := map[string]any{
		"creationTime": file.Created.UTC().Format(time.RFC3339),
		"readyToUse":   file.Failure == "",
		"size":         strconv.FormatInt(file.Size, 10),
	}
	if file.Failure != "" {
		status["error"] = map[string]any{"time": file.Created.UTC().Format(time.RFC3339), "message": file.Failure}
	}
	out := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": objectVersion, "kind": objectKind,
		"spec":   map[string]any{"location": file.Location, "nodeName": file.Node, "snapshotName": file.Name},
		"status": status,
	}}
	out.SetName(file.ObjectName())
	out.SetLabels(map[string]string{storageLabel: file.Node})
	out.SetAnnotations(map[string]string{tokenAnnotation: datastore.TokenHash(o.d.Password())})
	out.SetFinalizers([]string{finalizer})
	return out
}

// saved remembers a snapshot just taken (or failed); the next reconciliation makes its object.
func (o *objects) saved(file File) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pending = append(o.pending, file)
}

// reconcile makes the objects of this server follow the files of dir. Before the apiserver is ready nothing is done.
func (o *objects) reconcile(ctx context.Context, dir string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reconcileLimit)
	defer cancel()
	logx.Infof("Reconciling ETCDSnapshotFile resources")
	if err := o.reconcileLocked(ctx, dir); err != nil {
		logx.Errorf("Failed to reconcile ETCDSnapshotFile resources: %v", err)
		return
	}
	logx.Infof("Reconciliation of ETCDSnapshotFile resources complete")
}

func (o *objects) reconcileLocked(ctx context.Context, dir string) error {
	for len(o.pending) > 0 {
		if err := o.create(ctx, o.pending[0]); err != nil {
			return err
		}
		o.pending = o.pending[1:]
	}
	node := o.d.Config.NodeName
	files, err := List(dir, node)
	if err != nil {
		return err
	}
	onDisk := map[string]bool{}
	for _, file := range files {
		onDisk[file.Location] = true
	}
	list, err := o.client.Resource(resource).List(ctx, metav1.ListOptions{LabelSelector: storageLabel + "=" + node})
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for i := range list.Items {
		one := &list.Items[i]
		location, _, _ := unstructured.NestedString(one.Object, "spec", "location")
		known[location] = true
		if onDisk[location] || location == "" && time.Since(one.GetCreationTimestamp().Time) < failedKept {
			continue
		}
		name, _, _ := unstructured.NestedString(one.Object, "spec", "snapshotName")
		logx.Infof("Deleting ETCDSnapshotFile for %s", name)
		if err := o.remove(ctx, one); err != nil {
			return err
		}
	}
	for _, file := range files {
		if !known[file.Location] {
			logx.Infof("Creating ETCDSnapshotFile for %s", file.Name)
			if err := o.create(ctx, file); err != nil {
				return err
			}
		}
	}
	return o.stamp(ctx)
}

func (o *objects) create(ctx context.Context, file File) error {
	made, err := o.client.Resource(resource).Create(ctx, o.object(file), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	} else if err != nil {
		return err
	}
	about := &corev1.ObjectReference{Kind: objectKind, APIVersion: objectVersion, Name: made.GetName(), UID: made.GetUID()}
	if file.Failure != "" {
		o.recorder.Event(about, corev1.EventTypeWarning, reasonFailed,
			fmt.Sprintf("Failed to save snapshot %s on %s: %s", file.Name, file.Node, file.Failure))
		return nil
	}
	o.recorder.Event(about, corev1.EventTypeNormal, reasonCreated, fmt.Sprintf("Snapshot %s saved on %s", file.Name, file.Node))
	return nil
}

// remove deletes an object and takes its finalizer away; nothing else would.
func (o *objects) remove(ctx context.Context, one *unstructured.Unstructured) error {
	err := o.client.Resource(resource).Delete(ctx, one.GetName(), metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return o.release(ctx, one.GetName())
}

func (o *objects) release(ctx context.Context, name string) error {
	_, err := o.client.Resource(resource).Patch(ctx, name, types.MergePatchType,
		[]byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// releaseDeleted lets objects go that somebody has deleted by hand.
func (o *objects) releaseDeleted(ctx context.Context) {
	o.mu.Lock()
	defer o.mu.Unlock()
	list, err := o.client.Resource(resource).List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	for i := range list.Items {
		if list.Items[i].GetDeletionTimestamp() != nil {
			_ = o.release(ctx, list.Items[i].GetName())
		}
	}
}

// stamp puts the time of the reconciliation on the Node.
func (o *objects) stamp(ctx context.Context) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, timestampAnnotation, time.Now().UTC().Format(time.RFC3339))
	_, err := o.nodes.CoreV1().Nodes().Patch(ctx, o.d.Config.NodeName, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		return nil // the Node registers in a moment
	}
	return err
}
