package kubelet

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// lookup finds out what a pod needs from the API and does not get.
type lookup struct {
	client     kubernetes.Interface
	ctx        context.Context
	ns         string
	secrets    map[string]*v1.Secret
	configMaps map[string]*v1.ConfigMap
	errs       map[string]string
}

func newLookup(ctx context.Context, client kubernetes.Interface, ns string) *lookup {
	return &lookup{
		ctx: ctx, client: client, ns: ns,
		secrets: map[string]*v1.Secret{}, configMaps: map[string]*v1.ConfigMap{}, errs: map[string]string{},
	}
}

func (l *lookup) secret(name string) (*v1.Secret, string) {
	if s, ok := l.secrets[name]; ok {
		return s, l.errs["secret/"+name]
	}
	s, err := l.client.CoreV1().Secrets(l.ns).Get(l.ctx, name, metav1.GetOptions{})
	if err != nil {
		s = nil
		l.errs["secret/"+name] = words(err, "secret", name)
	}
	l.secrets[name] = s
	return s, l.errs["secret/"+name]
}

func (l *lookup) configMap(name string) (*v1.ConfigMap, string) {
	if m, ok := l.configMaps[name]; ok {
		return m, l.errs["configmap/"+name]
	}
	m, err := l.client.CoreV1().ConfigMaps(l.ns).Get(l.ctx, name, metav1.GetOptions{})
	if err != nil {
		m = nil
		l.errs["configmap/"+name] = words(err, "configmap", name)
	}
	l.configMaps[name] = m
	return m, l.errs["configmap/"+name]
}

func words(err error, kind, name string) string {
	if apierrors.IsNotFound(err) {
		return fmt.Sprintf("%s %q not found", kind, name)
	}
	return err.Error()
}

// volumes checks everything that is to be mounted.
func (l *lookup) volumes(p *v1.Pod) *missing {
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		if text := l.volume(v); text != "" {
			return &missing{fmt.Sprintf("MountVolume.SetUp failed for volume %q : %s", v.Name, text)}
		}
	}
	return nil
}

func (l *lookup) volume(v *v1.Volume) string {
	switch {
	case v.Secret != nil:
		s, text := l.secret(v.Secret.SecretName)
		return keysOf(text, is(v.Secret.Optional), v.Secret.Items, func(k string) bool { return s != nil && hasBytes(s.Data, k) })
	case v.ConfigMap != nil:
		m, text := l.configMap(v.ConfigMap.Name)
		return keysOf(text, is(v.ConfigMap.Optional), v.ConfigMap.Items, func(k string) bool { return hasKey(m, k) })
	case v.Projected != nil:
		for i := range v.Projected.Sources {
			if text := l.projection(&v.Projected.Sources[i]); text != "" {
				return text
			}
		}
	case v.PersistentVolumeClaim != nil:
		return l.claim(v.PersistentVolumeClaim.ClaimName)
	}
	return ""
}

func (l *lookup) projection(source *v1.VolumeProjection) string {
	switch {
	case source.Secret != nil:
		s, text := l.secret(source.Secret.Name)
		return keysOf(text, is(source.Secret.Optional), source.Secret.Items, func(k string) bool { return s != nil && hasBytes(s.Data, k) })
	case source.ConfigMap != nil:
		m, text := l.configMap(source.ConfigMap.Name)
		return keysOf(text, is(source.ConfigMap.Optional), source.ConfigMap.Items, func(k string) bool { return hasKey(m, k) })
	}
	return ""
}

func (l *lookup) claim(name string) string {
	c, err := l.client.CoreV1().PersistentVolumeClaims(l.ns).Get(l.ctx, name, metav1.GetOptions{})
	if err != nil {
		return words(err, "persistentvolumeclaim", name)
	}
	if c.Status.Phase != v1.ClaimBound {
		return fmt.Sprintf("PVC %s/%s is not bound", l.ns, name)
	}
	return ""
}

// keysOf returns what is wrong with a source and the keys that are taken from it.
func keysOf(text string, optional bool, items []v1.KeyToPath, has func(string) bool) string {
	if text != "" {
		if optional {
			return ""
		}
		return text
	}
	for _, item := range items {
		if !has(item.Key) && !optional {
			return "references non-existent secret key: " + item.Key
		}
	}
	return ""
}

// env checks what a container's environment is taken from.
func (l *lookup) env(c *v1.Container) *missing {
	for _, from := range c.EnvFrom {
		var text string
		switch {
		case from.SecretRef != nil && !is(from.SecretRef.Optional):
			_, text = l.secret(from.SecretRef.Name)
		case from.ConfigMapRef != nil && !is(from.ConfigMapRef.Optional):
			_, text = l.configMap(from.ConfigMapRef.Name)
		}
		if text != "" {
			return &missing{text}
		}
	}
	for i := range c.Env {
		if text := l.variable(c.Env[i].ValueFrom); text != "" {
			return &missing{text}
		}
	}
	return nil
}

func (l *lookup) variable(from *v1.EnvVarSource) string {
	switch {
	case from == nil:
	case from.SecretKeyRef != nil && !is(from.SecretKeyRef.Optional):
		ref := from.SecretKeyRef
		s, text := l.secret(ref.Name)
		if text == "" && !hasBytes(s.Data, ref.Key) {
			text = fmt.Sprintf("couldn't find key %s in Secret %s/%s", ref.Key, l.ns, ref.Name)
		}
		return text
	case from.ConfigMapKeyRef != nil && !is(from.ConfigMapKeyRef.Optional):
		ref := from.ConfigMapKeyRef
		m, text := l.configMap(ref.Name)
		if text == "" && !hasKey(m, ref.Key) {
			text = fmt.Sprintf("couldn't find key %s in ConfigMap %s/%s", ref.Key, l.ns, ref.Name)
		}
		return text
	}
	return ""
}

func is(b *bool) bool { return b != nil && *b }

func hasBytes(data map[string][]byte, key string) bool { _, found := data[key]; return found }

func hasKey(m *v1.ConfigMap, key string) bool {
	if m == nil {
		return false
	}
	_, text := m.Data[key]
	_, binary := m.BinaryData[key]
	return text || binary
}
