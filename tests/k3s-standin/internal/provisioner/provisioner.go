// Package provisioner makes and deletes volumes for the storage class
// local-path, as rancher.io/local-path does: a volume is a folder on the node
// that the scheduler chose for the first pod. The folders themselves are not
// made, because no pod runs that could use them.
package provisioner

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
)

// Name is the provisioner's name in storage classes.
const Name = "rancher.io/local-path"

const (
	selectedNode  = "volume.kubernetes.io/selected-node"
	provisionedBy = "pv.kubernetes.io/provisioned-by"
	// storageDir is where K3s keeps the volumes.
	storageDir = "/var/lib/rancher/k3s/storage"
)

type provisioner struct {
	client kubernetes.Interface
	events record.EventRecorder
	queue  workqueue.TypedRateLimitingInterface[string]
	claims cache.Store
	vols   cache.Store
}

// Run makes and deletes volumes until ctx ends.
func Run(ctx context.Context, client kubernetes.Interface) {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedv1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	defer broadcaster.Shutdown()
	p := &provisioner{
		client: client,
		events: broadcaster.NewRecorder(scheme.Scheme, v1.EventSource{Component: Name}),
		queue:  workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](200*time.Millisecond, 15*time.Second)),
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	claims, vols := factory.Core().V1().PersistentVolumeClaims().Informer(), factory.Core().V1().PersistentVolumes().Informer()
	p.claims, p.vols = claims.GetStore(), vols.GetStore()
	p.follow(claims, "claim/")
	p.follow(vols, "volume/")
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), claims.HasSynced, vols.HasSynced) {
		return
	}
	go func() {
		<-ctx.Done()
		p.queue.ShutDown()
	}()
	for p.work(ctx) {
	}
}

func (p *provisioner) follow(informer cache.SharedIndexInformer, prefix string) {
	add := func(object any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
			p.queue.Add(prefix + key)
		}
	}
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, object any) { add(object) }})
}

func (p *provisioner) work(ctx context.Context) bool {
	key, stop := p.queue.Get()
	if stop {
		return false
	}
	defer p.queue.Done(key)
	if err := p.sync(ctx, key); err != nil {
		p.queue.AddRateLimited(key)
		return true
	}
	p.queue.Forget(key)
	return true
}

func (p *provisioner) sync(ctx context.Context, key string) error {
	if name, found := cutPrefix(key, "claim/"); found {
		object, exists, err := p.claims.GetByKey(name)
		if err != nil || !exists {
			return err
		}
		return p.provision(ctx, object.(*v1.PersistentVolumeClaim))
	}
	name, _ := cutPrefix(key, "volume/")
	object, exists, err := p.vols.GetByKey(name)
	if err != nil || !exists {
		return err
	}
	return p.reclaim(ctx, object.(*v1.PersistentVolume))
}

func cutPrefix(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && s[:len(prefix)] == prefix {
		return s[len(prefix):], true
	}
	return s, false
}

// provision makes the volume of a claim that is ours and has a node.
func (p *provisioner) provision(ctx context.Context, c *v1.PersistentVolumeClaim) error {
	if c.Spec.VolumeName != "" || c.DeletionTimestamp != nil || c.Spec.StorageClassName == nil || *c.Spec.StorageClassName == "" {
		return nil
	}
	class, err := p.client.StorageV1().StorageClasses().Get(ctx, *c.Spec.StorageClassName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && class.Provisioner != Name {
		return nil
	}
	if err != nil {
		return err
	}
	node := c.Annotations[selectedNode]
	if node == "" {
		if class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer {
			return nil
		}
		p.failed(c, "configuration error, no node was specified")
		return nil
	}
	if why := refused(c); why != "" {
		p.failed(c, why)
		return nil
	}
	p.events.Event(c, v1.EventTypeNormal, "Provisioning", fmt.Sprintf("External provisioner is provisioning volume for claim %q", c.Namespace+"/"+c.Name))
	volume := volumeOf(c, class, node)
	if _, err := p.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	p.events.Event(c, v1.EventTypeNormal, "ProvisioningSucceeded", "Successfully provisioned volume "+volume.Name)
	return nil
}

func (p *provisioner) failed(c *v1.PersistentVolumeClaim, why string) {
	p.events.Event(c, v1.EventTypeWarning, "ProvisioningFailed", fmt.Sprintf("failed to provision volume with StorageClass %q: %s", *c.Spec.StorageClassName, why))
}

// refused says why local-path cannot make such a volume.
func refused(c *v1.PersistentVolumeClaim) string {
	switch {
	case c.Spec.Selector != nil:
		return "claim.Spec.Selector is not supported"
	case c.Spec.VolumeMode != nil && *c.Spec.VolumeMode == v1.PersistentVolumeBlock:
		return "block volume is not supported"
	case slices.Contains(c.Spec.AccessModes, v1.ReadWriteMany), slices.Contains(c.Spec.AccessModes, v1.ReadOnlyMany):
		return "NodePath only supports ReadWriteOnce and ReadWriteOncePod (1.22+) access modes"
	}
	return ""
}

func volumeOf(c *v1.PersistentVolumeClaim, class *storagev1.StorageClass, node string) *v1.PersistentVolume {
	name := "pvc-" + string(c.UID)
	policy := v1.PersistentVolumeReclaimDelete
	if class.ReclaimPolicy != nil {
		policy = *class.ReclaimPolicy
	}
	kind := v1.HostPathDirectoryOrCreate
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{
			provisionedBy: Name, "local.path.provisioner/selected-node": node,
		}},
		Spec: v1.PersistentVolumeSpec{
			Capacity: v1.ResourceList{v1.ResourceStorage: c.Spec.Resources.Requests[v1.ResourceStorage]},
			PersistentVolumeSource: v1.PersistentVolumeSource{HostPath: &v1.HostPathVolumeSource{
				Path: fmt.Sprintf("%s/%s_%s_%s", storageDir, name, c.Namespace, c.Name), Type: &kind,
			}},
			AccessModes: c.Spec.AccessModes, VolumeMode: c.Spec.VolumeMode, StorageClassName: class.Name, PersistentVolumeReclaimPolicy: policy,
			ClaimRef: &v1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: c.Namespace, Name: c.Name, UID: c.UID},
			NodeAffinity: &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
				MatchExpressions: []v1.NodeSelectorRequirement{{Key: v1.LabelHostname, Operator: v1.NodeSelectorOpIn, Values: []string{node}}},
			}}}},
		},
	}
}

// reclaim deletes a volume whose claim is gone, if its policy says so.
func (p *provisioner) reclaim(ctx context.Context, v *v1.PersistentVolume) error {
	if v.Annotations[provisionedBy] != Name || v.Status.Phase != v1.VolumeReleased || v.DeletionTimestamp != nil ||
		v.Spec.PersistentVolumeReclaimPolicy != v1.PersistentVolumeReclaimDelete {
		return nil
	}
	err := p.client.CoreV1().PersistentVolumes().Delete(ctx, v.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &v.UID}})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
