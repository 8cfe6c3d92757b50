package deploy

import (
	"context"
	"errors"
	"time"

	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextclient "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func column(name, kind, path string) apiext.CustomResourceColumnDefinition {
	return apiext.CustomResourceColumnDefinition{Name: name, Type: kind, JSONPath: path}
}

// free is a schema that takes any object.
func free() apiext.JSONSchemaProps {
	yes := true
	return apiext.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &yes}
}

func crd(group, kind, plural, singular string, columns ...apiext.CustomResourceColumnDefinition) *apiext.CustomResourceDefinition {
	return &apiext.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: plural + "." + group},
		Spec: apiext.CustomResourceDefinitionSpec{
			Group: group,
			Names: apiext.CustomResourceDefinitionNames{Plural: plural, Singular: singular, Kind: kind, ListKind: kind + "List"},
			Scope: apiext.NamespaceScoped,
			Versions: []apiext.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true, AdditionalPrinterColumns: columns,
				Schema: &apiext.CustomResourceValidation{OpenAPIV3Schema: &apiext.JSONSchemaProps{
					Type: "object", Properties: map[string]apiext.JSONSchemaProps{"spec": free(), "status": free()},
				}},
				Subresources: &apiext.CustomResourceSubresources{Status: &apiext.CustomResourceSubresourceStatus{}},
			}},
		},
	}
}

func crds() []*apiext.CustomResourceDefinition {
	return []*apiext.CustomResourceDefinition{
		crd("k3s.cattle.io", "Addon", "addons", "addon",
			column("Source", "string", ".spec.source"), column("Checksum", "string", ".spec.checksum")),
		crd("helm.cattle.io", "HelmChart", "helmcharts", "helmchart",
			column("Job", "string", ".status.jobName"), column("Chart", "string", ".spec.chart"),
			column("TargetNamespace", "string", ".spec.targetNamespace"), column("Version", "string", ".spec.version"),
			column("Repo", "string", ".spec.repo"), column("HelmVersion", "string", ".spec.helmVersion"),
			column("Bootstrap", "string", ".spec.bootstrap")),
		crd("helm.cattle.io", "HelmChartConfig", "helmchartconfigs", "helmchartconfig"),
	}
}

func (d *deployer) ensureCRDs(ctx context.Context) error {
	admin, err := d.o.Deps.Admin()
	if err != nil {
		return err
	}
	client, err := apiextclient.NewForConfig(admin)
	if err != nil {
		return err
	}
	api := client.ApiextensionsV1().CustomResourceDefinitions()
	for _, c := range crds() {
		if _, err := api.Create(ctx, c, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	for _, c := range crds() {
		for tries := 0; ; tries++ {
			got, err := api.Get(ctx, c.Name, metav1.GetOptions{})
			if err == nil && established(got) {
				break
			}
			if tries == 100 {
				return errors.Join(err, errors.New("timed out waiting for CRD "+c.Name+" to become available"))
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	return nil
}

func established(c *apiext.CustomResourceDefinition) bool {
	for _, cond := range c.Status.Conditions {
		if cond.Type == apiext.Established && cond.Status == apiext.ConditionTrue {
			return true
		}
	}
	return false
}
