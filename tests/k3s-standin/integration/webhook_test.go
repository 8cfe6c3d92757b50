package integration

import (
	"strings"
	"testing"
	"time"
)

const webhook = `
apiVersion: v1
kind: Service
metadata: {name: hook}
spec: {selector: {app: hook}, ports: [{port: 443, targetPort: 9443}]}
---
apiVersion: v1
kind: Pod
metadata: {name: hook, labels: {app: hook}}
spec: {containers: [{name: hook, image: "hook:1"}]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: hook}
webhooks:
  - name: hook.example.org
    failurePolicy: Fail
    sideEffects: None
    admissionReviewVersions: [v1]
    clientConfig: {service: {namespace: default, name: hook, path: /validate}}
    rules: [{apiGroups: [""], apiVersions: [v1], resources: [configmaps], operations: [CREATE]}]
    namespaceSelector: {matchLabels: {hooked: "yes"}}
`

func TestAWebhookOfSimulatedPodsAllowsAndSaysThatItWasNotConsulted(t *testing.T) {
	m := start(t)
	m.await("default service account", time.Minute, func() bool {
		_, err := m.try("get", "serviceaccount", "default")
		return err == nil
	})
	m.apply(webhook)
	m.kubectl("create", "namespace", "hooked")
	m.kubectl("label", "namespace", "hooked", "hooked=yes")
	m.kubectl("wait", "--for=condition=ready", "pod/hook", "--timeout=60s")
	var out string
	m.await("a Service with endpoints and an answer", time.Minute, func() (ok bool) {
		var err error
		out, err = m.try("create", "configmap", "c", "-n", "hooked")
		return err == nil
	})
	if !strings.Contains(out, "hook.default.svc/validate was not consulted") {
		t.Errorf("created without a warning: %q", out)
	}
	m.kubectl("delete", "pod", "hook")
	m.await("a refusal once no pod is ready", time.Minute, func() bool {
		out, err := m.try("create", "configmap", "d", "-n", "hooked")
		return err != nil && strings.Contains(out, "failed calling webhook")
	})
}
