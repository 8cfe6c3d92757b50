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

// small keeps the objects that every server makes: cluster-dns and k3s-serving.
func (d *deployer) small(ctx context.Context) {
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

// nodes keeps CoreDNS' NodeHosts.
func (d *deployer) nodes(ctx context.Context) {
	every(ctx, 5*time.Second, func(ctx context.Context) error {
		list, err := d.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return err
		}
		return d.nodeHosts(ctx, list.Items)
	}, "update node hosts")
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
