package deploy

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// small keeps the objects and marks that every server makes: cluster-dns, k3s-serving, and its own Node's etcd condition.
func (d *deployer) small(ctx context.Context) {
	go every(ctx, 10*time.Second, d.etcdCondition, "update etcd condition")
	every(ctx, 30*time.Second, func(ctx context.Context) error {
		if err := d.clusterDNS(ctx); err != nil {
			return err
		}
		return d.serving(ctx)
	}, "update kube-system objects")
}

func (d *deployer) clusterDNS(ctx context.Context) error {
	api := d.kube.CoreV1().ConfigMaps(system)
	_, err := api.Get(ctx, "cluster-dns", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	_, err = api.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "cluster-dns", Namespace: system},
		Data:       map[string]string{"clusterDNS": d.o.Deps.Config.ClusterDNS, "clusterDomain": d.o.Deps.Config.ClusterDomain},
	}, metav1.CreateOptions{})
	return ignoreExists(err)
}

func (d *deployer) serving(ctx context.Context) error {
	if d.o.Serving == nil {
		return nil
	}
	api := d.kube.CoreV1().Secrets(system)
	_, err := api.Get(ctx, "k3s-serving", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	_, err = api.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "k3s-serving", Namespace: system},
		Type:       corev1.SecretTypeTLS, Data: d.o.Serving,
	}, metav1.CreateOptions{})
	return ignoreExists(err)
}

func ignoreExists(err error) error {
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// etcdCondition puts EtcdIsVoter and the member's name on the own Node.
func (d *deployer) etcdCondition(ctx context.Context) error {
	c := d.o.Deps.Config
	store := d.o.Deps.Store()
	if !c.Etcd() || store == nil {
		return nil
	}
	node, err := d.kube.CoreV1().Nodes().Get(ctx, c.NodeName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if node.Annotations["etcd.k3s.cattle.io/node-name"] != store.Name() || node.Annotations["etcd.k3s.cattle.io/node-address"] != c.NodeIP {
		patch := fmt.Sprintf(`{"metadata":{"annotations":{"etcd.k3s.cattle.io/node-name":%q,"etcd.k3s.cattle.io/node-address":%q}}}`,
			store.Name(), c.NodeIP)
		if _, err := d.kube.CoreV1().Nodes().Patch(ctx, c.NodeName, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			return err
		}
	}
	learner, err := store.Learner(ctx)
	if err != nil {
		return err
	}
	want := corev1.NodeCondition{
		Type: "EtcdIsVoter", Status: corev1.ConditionTrue, Reason: "MemberNotLearner", Message: "Node is a voting member of the etcd cluster",
	}
	if learner {
		want.Status, want.Reason, want.Message = corev1.ConditionFalse, "MemberIsLearner", "Node has not been promoted to voting member of the etcd cluster"
	}
	for _, have := range node.Status.Conditions {
		if have.Type == want.Type && have.Status == want.Status {
			return nil
		}
	}
	now := time.Now().UTC().Format(time.RFC3339)
	patch := fmt.Sprintf(`{"status":{"conditions":[{"type":%q,"status":%q,"reason":%q,"message":%q,"lastHeartbeatTime":%q,"lastTransitionTime":%q}]}}`,
		want.Type, want.Status, want.Reason, want.Message, now, now)
	_, err = d.kube.CoreV1().Nodes().Patch(ctx, c.NodeName, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
	return err
}

// nodeFinalizers are on every Node of a K3s cluster.
var nodeFinalizers = []string{"wrangler.cattle.io/managed-etcd-controller", "wrangler.cattle.io/node"}

// nodes keeps the Nodes' finalizers and CoreDNS' NodeHosts, and removes the etcd member of a deleted Node.
func (d *deployer) nodes(ctx context.Context) {
	every(ctx, 3*time.Second, func(ctx context.Context) error {
		list, err := d.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return err
		}
		for i := range list.Items {
			if err := d.oneNode(ctx, &list.Items[i]); err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
				return err
			}
		}
		return d.nodeHosts(ctx, list.Items)
	}, "update nodes")
}

func (d *deployer) oneNode(ctx context.Context, node *corev1.Node) error {
	var others []string
	for _, f := range node.Finalizers {
		if !contains(nodeFinalizers, f) {
			others = append(others, f)
		}
	}
	mine := len(node.Finalizers) - len(others)
	switch {
	case node.DeletionTimestamp != nil && mine > 0:
		if store := d.o.Deps.Store(); store != nil && node.Labels["node-role.kubernetes.io/etcd"] == "true" {
			if err := store.RemoveNode(ctx, node.Name, node.Annotations["etcd.k3s.cattle.io/node-address"]); err != nil {
				return err
			}
		}
		node.Finalizers = others
	case node.DeletionTimestamp == nil && mine < len(nodeFinalizers):
		node.Finalizers = append(others, nodeFinalizers...)
	default:
		return nil
	}
	_, err := d.kube.CoreV1().Nodes().Update(ctx, node, metav1.UpdateOptions{})
	return err
}

// nodeHosts writes the Nodes' names and addresses into CoreDNS' ConfigMap, if there is one.
func (d *deployer) nodeHosts(ctx context.Context, nodes []corev1.Node) error {
	cm, err := d.kube.CoreV1().ConfigMaps(system).Get(ctx, "coredns", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var lines []string
	for _, n := range nodes {
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				lines = append(lines, a.Address+" "+n.Name+"\n")
			}
		}
	}
	sort.Strings(lines)
	text := strings.Join(lines, "")
	if cm.Data["NodeHosts"] == text {
		return nil
	}
	patch := fmt.Sprintf(`{"data":{"NodeHosts":%q}}`, text)
	_, err = d.kube.CoreV1().ConfigMaps(system).Patch(ctx, "coredns", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}
