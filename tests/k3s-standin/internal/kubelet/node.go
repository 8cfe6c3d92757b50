package kubelet

import (
	"context"
	"encoding/json"
	"maps"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// The marks of a Node that is not real.
const (
	// SimulatedAnnotation is on every Node of the stand-in.
	SimulatedAnnotation = "hmco-boot/simulated"
	leaseNamespace      = "kube-node-lease"
	leaseSeconds        = 40
	retry               = time.Second
)

// register makes the Node, or brings the one that is there up to date, and
// reports it ready. It tries until ctx ends.
func (k *Kubelet) register(ctx context.Context) error {
	k.events.Event(k.nodeRef(), v1.EventTypeNormal, "Starting", "Starting kubelet.")
	for {
		err := k.tryRegister(ctx)
		if err == nil {
			return nil
		}
		k.o.Log("Unable to register node %q with API server: %v", k.o.Name, err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retry):
		}
	}
}

func (k *Kubelet) tryRegister(ctx context.Context) error {
	nodes := k.o.Client.CoreV1().Nodes()
	have, err := nodes.Get(ctx, k.o.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		have, err = nodes.Create(ctx, k.newNode(), metav1.CreateOptions{})
		if err == nil {
			k.nodeEvents()
		}
	}
	if err != nil {
		return err
	}
	if err := k.update(ctx, have); err != nil {
		return err
	}
	if err := k.renew(ctx); err != nil {
		return err
	}
	if err := k.report(ctx, true); err != nil {
		return err
	}
	return nil
}

func (k *Kubelet) nodeEvents() {
	for _, e := range [][2]string{
		{"NodeHasSufficientMemory", "Node " + k.o.Name + " status is now: NodeHasSufficientMemory"},
		{"NodeHasNoDiskPressure", "Node " + k.o.Name + " status is now: NodeHasNoDiskPressure"},
		{"NodeHasSufficientPID", "Node " + k.o.Name + " status is now: NodeHasSufficientPID"},
		{"NodeAllocatableEnforced", "Updated Node Allocatable limit across pods"},
	} {
		k.events.Event(k.nodeRef(), v1.EventTypeNormal, e[0], e[1])
	}
}

// newNode is the Node as it is registered: not ready yet.
func (k *Kubelet) newNode() *v1.Node {
	n := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: k.o.Name, Labels: k.labels(), Annotations: k.annotations()}}
	n.Spec.ProviderID = "k3s://" + k.o.Name
	n.Spec.Taints = k.o.Taints
	k.fill(&n.Status, false)
	return n
}

func (k *Kubelet) labels() map[string]string {
	h := readHost()
	labels := map[string]string{
		"beta.kubernetes.io/arch": h.arch, "kubernetes.io/arch": h.arch, "beta.kubernetes.io/os": "linux", "kubernetes.io/os": "linux",
		"beta.kubernetes.io/instance-type": "k3s", "node.kubernetes.io/instance-type": "k3s", "kubernetes.io/hostname": k.o.Name,
	}
	maps.Copy(labels, k.o.Labels)
	return labels
}

func (k *Kubelet) annotations() map[string]string {
	annotations := map[string]string{
		SimulatedAnnotation: "true", "volumes.kubernetes.io/controller-managed-attach-detach": "true",
	}
	if k.o.Annotations != nil {
		maps.Copy(annotations, k.o.Annotations())
	}
	return annotations
}

// update puts labels and annotations on the Node, those of its role with the
// administrator's client.
func (k *Kubelet) update(ctx context.Context, have *v1.Node) error {
	patch := map[string]any{"metadata": map[string]any{"labels": k.labels(), "annotations": k.annotations()}}
	if err := k.patch(ctx, k.o.Client.CoreV1().Nodes(), patch); err != nil {
		return err
	}
	if k.o.Admin == nil || len(k.o.RoleLabels) == 0 {
		return nil
	}
	missing := false
	for key, value := range k.o.RoleLabels {
		missing = missing || have.Labels[key] != value
	}
	if !missing {
		return nil
	}
	return k.patch(ctx, k.o.Admin.CoreV1().Nodes(), map[string]any{"metadata": map[string]any{"labels": k.o.RoleLabels}})
}

type nodePatcher interface {
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (*v1.Node, error)
}

func (k *Kubelet) patch(ctx context.Context, nodes nodePatcher, patch any) error {
	data, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	_, err = nodes.Patch(ctx, k.o.Name, types.StrategicMergePatchType, data, metav1.PatchOptions{})
	return err
}

// fill sets what a kubelet reports in the status and leaves the rest alone.
func (k *Kubelet) fill(s *v1.NodeStatus, ready bool) {
	h := readHost()
	now := metav1.NewTime(k.o.Now())
	s.Addresses = []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: k.o.IP}, {Type: v1.NodeHostName, Address: k.o.Name}}
	s.Capacity, s.Allocatable = h.capacity(), h.allocatable()
	s.DaemonEndpoints.KubeletEndpoint.Port = 10250
	s.NodeInfo = v1.NodeSystemInfo{
		Architecture: h.arch, BootID: h.bootID, ContainerRuntimeVersion: "containerd://2.0.2+unknown", KernelVersion: h.kernel,
		KubeProxyVersion: k.o.Version, KubeletVersion: k.o.Version, MachineID: h.machineID, OperatingSystem: "linux",
		OSImage: h.osImage, SystemUUID: h.machineID,
	}
	s.RuntimeHandlers = nil
	for _, name := range []string{"runc", "", "runhcs-wcow-process"} {
		no := false
		s.RuntimeHandlers = append(s.RuntimeHandlers, v1.NodeRuntimeHandler{
			Name: name, Features: &v1.NodeRuntimeHandlerFeatures{RecursiveReadOnlyMounts: &no, UserNamespaces: &no},
		})
	}
	condition(s, now, v1.NodeMemoryPressure, false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available")
	condition(s, now, v1.NodeDiskPressure, false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure")
	condition(s, now, v1.NodePIDPressure, false, "KubeletHasSufficientPID", "kubelet has sufficient PID available")
	if ready {
		condition(s, now, v1.NodeReady, true, "KubeletReady", "kubelet is posting ready status")
	} else {
		condition(s, now, v1.NodeReady, false, "KubeletNotReady", "CSINode is not yet initialized")
	}
}

func condition(s *v1.NodeStatus, now metav1.Time, kind v1.NodeConditionType, is bool, reason, message string) {
	status := v1.ConditionFalse
	if is {
		status = v1.ConditionTrue
	}
	want := v1.NodeCondition{
		Type: kind, Status: status, Reason: reason, Message: message, LastHeartbeatTime: now, LastTransitionTime: now,
	}
	for i := range s.Conditions {
		have := &s.Conditions[i]
		if have.Type != kind {
			continue
		}
		if have.Status == status {
			want.LastTransitionTime = have.LastTransitionTime
		}
		*have = want
		return
	}
	s.Conditions = append(s.Conditions, want)
}

// report writes the Node's status.
func (k *Kubelet) report(ctx context.Context, ready bool) error {
	nodes := k.o.Client.CoreV1().Nodes()
	have, err := nodes.Get(ctx, k.o.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	k.pods.setRange(have.Spec.PodCIDR)
	want := have.DeepCopy()
	k.fill(&want.Status, ready)
	before, err := json.Marshal(v1.Node{Status: have.Status})
	if err != nil {
		return err
	}
	after, err := json.Marshal(v1.Node{Status: want.Status})
	if err != nil {
		return err
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, v1.Node{})
	if err != nil {
		return err
	}
	if _, err := nodes.Patch(ctx, k.o.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
		return err
	}
	if was := nodeReady(&have.Status); ready && !was {
		k.events.Event(k.nodeRef(), v1.EventTypeNormal, "NodeReady", "Node "+k.o.Name+" status is now: NodeReady")
	}
	return nil
}

func nodeReady(s *v1.NodeStatus) bool {
	for _, c := range s.Conditions {
		if c.Type == v1.NodeReady {
			return c.Status == v1.ConditionTrue
		}
	}
	return false
}

// heartbeat renews the lease, and the status more rarely, until ctx ends. A
// Node that was deleted is registered again only by a new start, as kubelets do.
func (k *Kubelet) heartbeat(ctx context.Context) {
	reported := time.Now()
	wait := k.rangeWait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = k.o.Timings.Lease
		if k.rangeWait() != wait || time.Since(reported) >= k.o.Timings.Status {
			if err := k.report(ctx, true); err == nil {
				reported = time.Now()
			}
			wait = k.rangeWait()
		}
		if err := k.renew(ctx); err != nil && ctx.Err() == nil {
			k.o.Log("Failed to ensure lease exists, will retry: %v", err)
			wait = min(7*time.Second, k.o.Timings.Lease)
		}
	}
}

// rangeWait is short as long as the Node has no range of pod addresses.
func (k *Kubelet) rangeWait() time.Duration {
	k.pods.mu.Lock()
	defer k.pods.mu.Unlock()
	if k.pods.prefix.IsValid() {
		return k.o.Timings.Lease
	}
	return min(retry, k.o.Timings.Lease)
}

// renew renews the Node's lease, or makes it.
func (k *Kubelet) renew(ctx context.Context) error {
	leases := k.o.Client.CoordinationV1().Leases(leaseNamespace)
	now := metav1.NewMicroTime(k.o.Now())
	lease, err := leases.Get(ctx, k.o.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		node, err := k.o.Client.CoreV1().Nodes().Get(ctx, k.o.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		seconds := int32(leaseSeconds)
		_, err = leases.Create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: k.o.Name, Namespace: leaseNamespace, OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID,
			}}},
			Spec: coordinationv1.LeaseSpec{HolderIdentity: &k.o.Name, LeaseDurationSeconds: &seconds, RenewTime: &now},
		}, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	lease.Spec.RenewTime = &now
	_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	return err
}
