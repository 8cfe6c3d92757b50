package node

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"hmco-boot/k3s-standin/internal/faults"
	"hmco-boot/k3s-standin/internal/provisioner"
	"hmco-boot/k3s-standin/internal/supervisor"
)

// The finalizers by which K3s holds a deleted Node until it has tidied up.
const (
	nodeFinalizer = "wrangler.cattle.io/node"
	etcdFinalizer = "wrangler.cattle.io/managed-etcd-controller"
)

const (
	electionLease = "k3s-standin-node"
	nodeInterval  = 2 * time.Second
	voterDelay    = 8 * time.Second // from the start of a server to its first word on whether its member votes
	voter         = v1.NodeConditionType("EtcdIsVoter")
)

// Controllers runs what the servers do for all nodes: node passwords of deleted Nodes, volumes of local-path. It is to
// be started once d.Ready is closed on every server, chooses one of them by a lease, and returns when ctx ends.
func Controllers(ctx context.Context, d supervisor.Deps) {
	c, err := newControllers(d)
	for err != nil {
		if sleep(ctx, time.Second) != nil {
			return
		}
		c, err = newControllers(d)
	}
	go c.etcd(ctx)
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Name: electionLease, Namespace: metav1.NamespaceSystem},
		Client:     c.client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: d.Config.NodeName},
	}
	for ctx.Err() == nil {
		leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
			Lock: lock, LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second, ReleaseOnCancel: true,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(ctx context.Context) {
					go provisioner.Run(ctx, c.client)
					c.nodes(ctx)
				},
				OnStoppedLeading: func() {},
			},
		})
		_ = sleep(ctx, time.Second)
	}
}

type controllers struct {
	d      supervisor.Deps
	client kubernetes.Interface
}

func newControllers(d supervisor.Deps) (*controllers, error) {
	config, err := d.Admin()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	return &controllers{d, client}, err
}

// nodes gives Nodes their finalizers and tidies up after deleted ones.
func (c *controllers) nodes(ctx context.Context) {
	for {
		list, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err == nil {
			for i := range list.Items {
				_ = c.node(ctx, &list.Items[i])
			}
		}
		if sleep(ctx, nodeInterval) != nil {
			return
		}
	}
}

func (c *controllers) node(ctx context.Context, n *v1.Node) error {
	want := []string{nodeFinalizer}
	if c.d.Config.Etcd() { // agents have it, too
		want = append(want, etcdFinalizer)
	}
	finalizers := slices.Clone(n.Finalizers)
	if n.DeletionTimestamp == nil {
		for _, f := range want {
			if !slices.Contains(finalizers, f) {
				finalizers = append(finalizers, f)
			}
		}
	} else {
		if err := c.deleted(ctx, n); err != nil {
			return err
		}
		finalizers = slices.DeleteFunc(finalizers, func(f string) bool { return f == nodeFinalizer || f == etcdFinalizer })
	}
	if slices.Equal(finalizers, n.Finalizers) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": finalizers, "resourceVersion": n.ResourceVersion}})
	if err != nil {
		return err
	}
	_, err = c.client.CoreV1().Nodes().Patch(ctx, n.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// deleted removes a deleted Node's password and its etcd member.
func (c *controllers) deleted(ctx context.Context, n *v1.Node) error {
	if slices.Contains(n.Finalizers, nodeFinalizer) {
		err := c.client.CoreV1().Secrets(metav1.NamespaceSystem).Delete(ctx, passwordSecret(n.Name), metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	name := n.Annotations["etcd.k3s.cattle.io/node-name"]
	store := c.d.Store()
	if !slices.Contains(n.Finalizers, etcdFinalizer) || name == "" || store == nil {
		return nil
	}
	members, err := store.Members(ctx)
	if err != nil {
		return err
	}
	for _, m := range members {
		if m.Name == name {
			if _, err := store.Client().MemberRemove(ctx, m.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// etcd puts the member's name, address and state on the server's own Node.
func (c *controllers) etcd(ctx context.Context) {
	if !c.d.Config.Etcd() {
		return
	}
	begun := time.Now()
	for sleep(ctx, nodeInterval) == nil {
		_ = c.etcdNode(ctx, time.Since(begun) >= voterDelay)
	}
}

// etcdNode says whether the member votes only when told to.
func (c *controllers) etcdNode(ctx context.Context, say bool) error {
	store := c.d.Store()
	if store == nil {
		return nil
	}
	n, err := c.client.CoreV1().Nodes().Get(ctx, c.d.Config.NodeName, metav1.GetOptions{ResourceVersion: "0"})
	if err != nil {
		return err
	}
	name, address := store.Name(), c.d.Config.NodeIP
	if n.Annotations["etcd.k3s.cattle.io/node-name"] != name || n.Annotations["etcd.k3s.cattle.io/node-address"] != address {
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{
			"etcd.k3s.cattle.io/node-name": name, "etcd.k3s.cattle.io/node-address": address,
		}}})
		if err != nil {
			return err
		}
		if _, err := c.client.CoreV1().Nodes().Patch(ctx, n.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return err
		}
	}
	if !say {
		return nil
	}
	learner, err := store.Learner(ctx)
	if err != nil {
		return err
	}
	want := memberCondition(learner)
	for _, have := range n.Status.Conditions {
		if have.Type == voter && have.Status == want.Status && have.Reason == want.Reason {
			return nil
		}
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []v1.NodeCondition{want}}})
	if err != nil {
		return err
	}
	_, err = c.client.CoreV1().Nodes().Patch(ctx, n.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

func memberCondition(learner bool) v1.NodeCondition {
	now := metav1.NewTime(faults.Now())
	c := v1.NodeCondition{
		Type: voter, Status: v1.ConditionTrue, Reason: "MemberNotLearner", Message: "Node is a voting member of the etcd cluster",
		LastHeartbeatTime: now, LastTransitionTime: now,
	}
	if learner {
		c.Status, c.Reason, c.Message = v1.ConditionFalse, "MemberIsLearner", "Node has not been promoted to voting member of the etcd cluster"
	}
	return c
}
