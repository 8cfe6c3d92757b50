package deploy

import (
	"context"
	"errors"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hmco-boot/k3s-standin/internal/faults"
)

var chartResource = schema.GroupVersionResource{Group: "helm.cattle.io", Version: "v1", Resource: "helmcharts"}

const (
	chartFinalizer = "wrangler.cattle.io/on-helm-chart-remove"
	helmImage      = "rancher/klipper-helm:v0.9.4-build20250113"
)

// charts makes the Jobs of HelmCharts. There is no helm here, so no chart is ever installed, and none may look
// installed: the Jobs' pods cannot pull their image, as on a machine without a registry, and the Jobs stay unfinished.
func (d *deployer) charts(ctx context.Context) {
	if d.o.Deps.Config.DisableHelmController {
		return
	}
	every(ctx, 3*time.Second, func(ctx context.Context) error {
		list, err := d.dynamic.Resource(chartResource).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return err
		}
		for i := range list.Items {
			if e := d.oneChart(ctx, &list.Items[i]); e != nil && !apierrors.IsConflict(e) {
				err = errors.Join(err, e)
			}
		}
		return err
	}, "process HelmCharts")
}

func (d *deployer) oneChart(ctx context.Context, chart *unstructured.Unstructured) error {
	name, ns := chart.GetName(), chart.GetNamespace()
	api := d.dynamic.Resource(chartResource).Namespace(ns)
	if err := faults.At("helm.chart"); err != nil {
		return err
	}
	if chart.GetDeletionTimestamp() != nil {
		return d.removeChart(ctx, chart)
	}
	job := "helm-install-" + name
	if !contains(chart.GetFinalizers(), chartFinalizer) {
		chart.SetFinalizers(append(chart.GetFinalizers(), chartFinalizer))
		got, err := api.Update(ctx, chart, metav1.UpdateOptions{})
		if err != nil {
			return err
		}
		chart = got
	}
	if _, err := d.kube.BatchV1().Jobs(ns).Get(ctx, job, metav1.GetOptions{}); apierrors.IsNotFound(err) {
		if err := d.makeJob(ctx, chart, job); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if have, _, _ := unstructured.NestedString(chart.Object, "status", "jobName"); have == job {
		return nil
	}
	if err := unstructured.SetNestedField(chart.Object, job, "status", "jobName"); err != nil {
		return err
	}
	_, err := api.UpdateStatus(ctx, chart, metav1.UpdateOptions{})
	return err
}

// removeChart lets a chart go at once: nothing of it was ever installed.
func (d *deployer) removeChart(ctx context.Context, chart *unstructured.Unstructured) error {
	name, ns := chart.GetName(), chart.GetNamespace()
	background := metav1.DeletePropagationBackground
	err := d.kube.BatchV1().Jobs(ns).Delete(ctx, "helm-install-"+name, metav1.DeleteOptions{PropagationPolicy: &background})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	for _, del := range []error{
		d.kube.CoreV1().Secrets(ns).Delete(ctx, "chart-values-"+name, metav1.DeleteOptions{}),
		d.kube.CoreV1().ServiceAccounts(ns).Delete(ctx, "helm-"+name, metav1.DeleteOptions{}),
		d.kube.RbacV1().ClusterRoleBindings().Delete(ctx, "helm-"+ns+"-"+name, metav1.DeleteOptions{}),
	} {
		if del != nil && !apierrors.IsNotFound(del) {
			return del
		}
	}
	var keep []string
	for _, f := range chart.GetFinalizers() {
		if f != chartFinalizer {
			keep = append(keep, f)
		}
	}
	chart.SetFinalizers(keep)
	_, err = d.dynamic.Resource(chartResource).Namespace(ns).Update(ctx, chart, metav1.UpdateOptions{})
	return err
}

func (d *deployer) makeJob(ctx context.Context, chart *unstructured.Unstructured, job string) error {
	name, ns := chart.GetName(), chart.GetNamespace()
	owner := []metav1.OwnerReference{*metav1.NewControllerRef(chart, schema.GroupVersionKind{Group: "helm.cattle.io", Version: "v1", Kind: "HelmChart"})}
	values, _, _ := unstructured.NestedString(chart.Object, "spec", "valuesContent")
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "chart-values-" + name, Namespace: ns, OwnerReferences: owner},
		StringData: map[string]string{"values-01_HelmChart.yaml": values},
	}
	if _, err := d.kube.CoreV1().Secrets(ns).Create(ctx, secret, metav1.CreateOptions{}); ignoreExists(err) != nil {
		return err
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "helm-" + name, Namespace: ns, OwnerReferences: owner}}
	if _, err := d.kube.CoreV1().ServiceAccounts(ns).Create(ctx, account, metav1.CreateOptions{}); ignoreExists(err) != nil {
		return err
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "helm-" + ns + "-" + name},
		RoleRef:    rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "helm-" + name, Namespace: ns}},
	}
	if _, err := d.kube.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); ignoreExists(err) != nil {
		return err
	}
	_, err := d.kube.BatchV1().Jobs(ns).Create(ctx, installJob(chart, job, owner), metav1.CreateOptions{})
	return ignoreExists(err)
}

func installJob(chart *unstructured.Unstructured, job string, owner []metav1.OwnerReference) *batchv1.Job {
	name, ns := chart.GetName(), chart.GetNamespace()
	spec := func(key string) string { v, _, _ := unstructured.NestedString(chart.Object, "spec", key); return v }
	backOff := int32(1000)
	if n, ok, _ := unstructured.NestedInt64(chart.Object, "spec", "backOffLimit"); ok {
		backOff = int32(n)
	}
	image := spec("jobImage")
	if image == "" {
		image = helmImage
	}
	labels := map[string]string{"helmcharts.helm.cattle.io/chart": name}
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: job, Namespace: ns, Labels: labels, OwnerReferences: owner},
		Spec: batchv1.JobSpec{
			BackoffLimit: &backOff,
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{"hmco-boot/simulate": "pull-fails"}},
				Spec: corev1.PodSpec{
					RestartPolicy:      corev1.RestartPolicyOnFailure,
					ServiceAccountName: "helm-" + name,
					Tolerations:        []corev1.Toleration{{Key: "node-role.kubernetes.io/control-plane", Operator: corev1.TolerationOpExists}},
					Containers: []corev1.Container{{
						Name: "helm", Image: image, Args: []string{"install"},
						Env: []corev1.EnvVar{
							{Name: "NAME", Value: name}, {Name: "VERSION", Value: spec("version")}, {Name: "REPO", Value: spec("repo")},
							{Name: "CHART", Value: spec("chart")}, {Name: "TARGET_NAMESPACE", Value: spec("targetNamespace")},
						},
					}},
				},
			},
		},
	}
}
