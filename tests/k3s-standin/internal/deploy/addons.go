package deploy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"hmco-boot/k3s-standin/internal/logx"
)

var addonResource = schema.GroupVersionResource{Group: "k3s.cattle.io", Version: "v1", Resource: "addons"}

const (
	system       = "kube-system"
	gvksKey      = "addon.k3s.cattle.io/gvks"
	hashLabel    = "objectset.rio.cattle.io/hash"
	scanInterval = 5 * time.Second // K3s: 15 s
)

// addons applies the files of server/manifests whenever their content changes, and takes away what `disable` names.
func (d *deployer) addons(ctx context.Context) {
	for _, name := range Packaged {
		if disabled(d.o.Deps, name) {
			d.uninstall(ctx, name)
		}
	}
	every(ctx, scanInterval, d.scan, "process config")
}

func (d *deployer) scan(ctx context.Context) error {
	dir := d.o.Deps.Paths.Manifests()
	var files []string
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch filepath.Ext(path) {
		case ".yaml", ".yml", ".json":
			if _, err := os.Stat(path + ".skip"); !entry.IsDir() && err != nil {
				files = append(files, path)
			}
		}
		return nil
	})
	sort.Strings(files)
	for _, file := range files {
		if e := d.apply(ctx, file); e != nil {
			err = errors.Join(err, fmt.Errorf("failed to process %s: %w", file, e))
		}
	}
	return err
}

// apply brings one file's objects into the cluster unless the AddOn of its name has its checksum already.
func (d *deployer) apply(ctx context.Context, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	checksum := hex.EncodeToString(sum[:])
	name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	addon, err := d.addon(ctx, name, file)
	if err != nil {
		return err
	}
	if have, _, _ := unstructured.NestedString(addon.Object, "spec", "checksum"); have == checksum {
		return nil
	}
	objects, err := parseObjects(data)
	if err != nil {
		return err
	}
	gvks, err := d.applyObjects(ctx, name, objects)
	if err != nil {
		return err
	}
	if old := addon.GetAnnotations()[gvksKey]; old != "" {
		if err := d.prune(ctx, name, union(old, gvks), objects); err != nil {
			return err
		}
	}
	notes := addon.GetAnnotations()
	if notes == nil {
		notes = map[string]string{}
	}
	notes[gvksKey] = gvks
	addon.SetAnnotations(notes)
	addon.Object["spec"] = map[string]any{"source": file, "checksum": checksum}
	_, err = d.dynamic.Resource(addonResource).Namespace(system).Update(ctx, addon, metav1.UpdateOptions{})
	return err
}

func (d *deployer) addon(ctx context.Context, name, file string) (*unstructured.Unstructured, error) {
	api := d.dynamic.Resource(addonResource).Namespace(system)
	have, err := api.Get(ctx, name, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return have, err
	}
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "k3s.cattle.io/v1", "kind": "Addon",
		"metadata": map[string]any{"name": name, "namespace": system},
		"spec":     map[string]any{"source": file},
	}}
	return api.Create(ctx, u, metav1.CreateOptions{})
}

// applyObjects applies server-side and returns the kinds in the form of the AddOn's annotation.
func (d *deployer) applyObjects(ctx context.Context, addon string, objects []*unstructured.Unstructured) (string, error) {
	var gvks []string
	for _, o := range objects {
		gvk := o.GroupVersionKind().String()
		if !contains(gvks, gvk) {
			gvks = append(gvks, gvk)
		}
		mark(o, addon)
		if err := d.applyOne(ctx, o); err != nil {
			return "", err
		}
	}
	return strings.Join(gvks, ";"), nil
}

func (d *deployer) applyOne(ctx context.Context, o *unstructured.Unstructured) error {
	api, err := d.resource(o.GroupVersionKind(), o)
	if err != nil {
		return err
	}
	_, err = api.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: manager, Force: true})
	if err != nil {
		return fmt.Errorf("failed to apply %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	return nil
}

// resource finds the resource of a kind; kinds that are not known yet (a CRD of the same file) are looked up anew.
func (d *deployer) resource(gvk schema.GroupVersionKind, o *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	m, err := d.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		d.disco.Invalidate()
		d.mapper.Reset()
		if m, err = d.mapper.RESTMapping(gvk.GroupKind(), gvk.Version); err != nil {
			return nil, err
		}
	}
	api := d.dynamic.Resource(m.Resource)
	if m.Scope.Name() != "namespace" {
		return api, nil
	}
	if o != nil && o.GetNamespace() == "" {
		o.SetNamespace("default")
	}
	if o == nil {
		return api, nil
	}
	return api.Namespace(o.GetNamespace()), nil
}

// mark puts K3s' annotations and label of ownership on an object.
func mark(o *unstructured.Unstructured, addon string) {
	notes := o.GetAnnotations()
	if notes == nil {
		notes = map[string]string{}
	}
	notes["objectset.rio.cattle.io/id"] = ""
	notes["objectset.rio.cattle.io/owner-gvk"] = "k3s.cattle.io/v1, Kind=Addon"
	notes["objectset.rio.cattle.io/owner-name"] = addon
	notes["objectset.rio.cattle.io/owner-namespace"] = system
	o.SetAnnotations(notes)
	labels := o.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[hashLabel] = setHash(addon)
	o.SetLabels(labels)
}

func setHash(addon string) string {
	sum := sha256.Sum256([]byte("k3s.cattle.io/v1, Kind=Addon " + system + "/" + addon))
	return hex.EncodeToString(sum[:])[:40]
}

// prune deletes objects of the set that are not among keep.
func (d *deployer) prune(ctx context.Context, addon, gvks string, keep []*unstructured.Unstructured) error {
	kept := map[string]bool{}
	for _, o := range keep {
		kept[o.GroupVersionKind().GroupKind().String()+" "+o.GetNamespace()+"/"+o.GetName()] = true
	}
	for _, text := range strings.Split(gvks, ";") {
		gvk, ok := parseGVK(text)
		if !ok {
			continue
		}
		api, err := d.resource(gvk, nil)
		if err != nil {
			continue // the kind is gone, and its objects with it
		}
		list, err := api.List(ctx, metav1.ListOptions{LabelSelector: hashLabel + "=" + setHash(addon)})
		if err != nil {
			return err
		}
		for i := range list.Items {
			o := &list.Items[i]
			if kept[gvk.GroupKind().String()+" "+o.GetNamespace()+"/"+o.GetName()] {
				continue
			}
			one, err := d.resource(gvk, o)
			if err != nil {
				return err
			}
			if err := one.Delete(ctx, o.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				return err
			}
		}
	}
	return nil
}

// uninstall takes an AddOn and its objects away.
func (d *deployer) uninstall(ctx context.Context, name string) {
	api := d.dynamic.Resource(addonResource).Namespace(system)
	addon, err := api.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return
	}
	if err := d.prune(ctx, name, addon.GetAnnotations()[gvksKey], nil); err != nil {
		logx.Errorf("Failed to uninstall %s: %v", name, err)
		return
	}
	if err := api.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		logx.Errorf("Failed to uninstall %s: %v", name, err)
	}
}

func parseObjects(data []byte) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	dec := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		u := &unstructured.Unstructured{}
		err := dec.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if len(u.Object) == 0 {
			continue
		}
		if u.IsList() {
			list, err := u.ToList()
			if err != nil {
				return nil, err
			}
			for i := range list.Items {
				out = append(out, &list.Items[i])
			}
			continue
		}
		out = append(out, u)
	}
}

func parseGVK(text string) (schema.GroupVersionKind, bool) {
	gv, kind, ok := strings.Cut(text, ", Kind=")
	if !ok {
		return schema.GroupVersionKind{}, false
	}
	v, err := schema.ParseGroupVersion(strings.TrimPrefix(gv, "/"))
	return v.WithKind(kind), err == nil
}

func union(a, b string) string {
	parts := strings.Split(a, ";")
	for _, p := range strings.Split(b, ";") {
		if !contains(parts, p) {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ";")
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}
