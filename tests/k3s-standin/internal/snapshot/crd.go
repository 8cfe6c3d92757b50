package snapshot

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

var crdResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

const crdPoll = 200 * time.Millisecond

func text(description string) map[string]any {
	return map[string]any{"type": "string", "description": description}
}

func column(name, path, kind string) map[string]any {
	return map[string]any{"name": name, "jsonPath": path, "type": kind}
}

// definition is the ETCDSnapshotFile CRD.
func definition() *unstructured.Unstructured {
	spec := map[string]any{"type": "object", "properties": map[string]any{
		"location":     text("URL of the snapshot: file:// or s3://."),
		"nodeName":     text("The node that took the snapshot."),
		"snapshotName": text("The snapshot's file name."),
		"metadata":     map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "string"}},
		"s3":           map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
	}, "required": []any{"location", "nodeName", "snapshotName"}}
	status := map[string]any{"type": "object", "properties": map[string]any{
		"creationTime": map[string]any{"type": "string", "format": "date-time"},
		"readyToUse":   map[string]any{"type": "boolean"},
		"size": map[string]any{"anyOf": []any{map[string]any{"type": "integer"}, map[string]any{"type": "string"}},
			"x-kubernetes-int-or-string": true},
		"error": map[string]any{"type": "object", "properties": map[string]any{
			"message": text("What went wrong."), "time": map[string]any{"type": "string", "format": "date-time"},
		}},
	}}
	version := map[string]any{
		"name": "v1", "served": true, "storage": true,
		"additionalPrinterColumns": []any{
			column("SnapshotName", ".spec.snapshotName", "string"),
			column("Node", ".spec.nodeName", "string"),
			column("Location", ".spec.location", "string"),
			column("Size", ".status.size", "string"),
			column("CreationTime", ".status.creationTime", "string"),
		},
		"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "properties": map[string]any{
			"spec": spec, "status": status,
		}}},
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "etcdsnapshotfiles.k3s.cattle.io"},
		"spec": map[string]any{
			"group": "k3s.cattle.io", "scope": "Cluster",
			"names": map[string]any{
				"kind": objectKind, "listKind": objectKind + "List", "plural": "etcdsnapshotfiles", "singular": "etcdsnapshotfile",
			},
			"versions": []any{version},
		},
	}}
}

// ensureCRD creates the definition and waits until objects can be listed.
func ensureCRD(ctx context.Context, client dynamic.Interface) error {
	_, err := client.Resource(crdResource).Create(ctx, definition(), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	for {
		if _, err = client.Resource(resource).List(ctx, metav1.ListOptions{Limit: 1}); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(crdPoll):
		}
	}
}
