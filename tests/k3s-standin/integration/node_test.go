package integration

import (
	"strings"
	"testing"
	"time"
)

const workload = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "nginx:1.25", readinessProbe: {httpGet: {path: /, port: 80}, initialDelaySeconds: 1}}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: once, image: busybox}]}
---
apiVersion: v1
kind: Pod
metadata: {name: broken, annotations: {hmco-boot/simulate: pull-fails}}
spec: {containers: [{name: broken, image: "registry.invalid/x:1"}]}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], storageClassName: local-path, resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: keeper}
spec:
  containers: [{name: keeper, image: busybox, volumeMounts: [{name: data, mountPath: /data}]}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
`

func TestAWorkloadRunsFailsAndGoesAsItShould(t *testing.T) {
	m := start(t)
	m.await("default service account", time.Minute, func() bool {
		_, err := m.try("get", "serviceaccount", "default")
		return err == nil
	})
	m.apply(workload)
	m.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
	m.kubectl("wait", "--for=condition=complete", "job/once", "--timeout=60s")
	m.kubectl("wait", "--for=condition=ready", "pod/keeper", "--timeout=60s")
	if phase := m.kubectl("get", "pvc", "data", "-o", "jsonpath={.status.phase}"); phase != "Bound" {
		t.Errorf("the claim is %s", phase)
	}
	m.await("a back-off", time.Minute, func() bool { return strings.Contains(m.kubectl("get", "pod", "broken"), "ImagePullBackOff") })

	if out := m.kubectl("logs", "deployment/web"); !strings.Contains(out, "simulated container web") {
		t.Errorf("logs: %q", out)
	}
	if out := m.kubectl("exec", "keeper", "--", "echo", "there"); out != "there\n" {
		t.Errorf("exec: %q", out)
	}
	if out, err := m.try("exec", "keeper", "--", "rm", "-rf", "/data"); err == nil || !strings.Contains(out, "simulated") {
		t.Errorf("exec of what cannot be done: %v %q", err, out)
	}
	if out := m.kubectl("get", "node", "n1", "-o", `jsonpath={.metadata.annotations.hmco-boot/simulated}`); out != "true" {
		t.Errorf("the node does not say that it is simulated: %q", out)
	}

	volume := m.kubectl("get", "pvc", "data", "-o", "jsonpath={.spec.volumeName}")
	m.kubectl("delete", "pod/keeper", "pvc/data", "deployment/web", "pod/broken", "--timeout=60s")
	m.await("the volume is deleted", time.Minute, func() bool {
		out, err := m.try("get", "pv", volume)
		return err != nil && strings.Contains(out, "NotFound")
	})
}
