// Package events prints Kubernetes events into the server's log, in klog's form, as K3s' controllers do.
package events

import (
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"hmco-boot/k3s-standin/internal/logx"
)

// Print prints every event of the broadcaster.
func Print(b record.EventBroadcaster) {
	b.StartEventWatcher(func(e *corev1.Event) { logx.Raw(Line(e, time.Now(), os.Getpid())) })
}

// Line is an event as klog prints it, with the end of the line.
func Line(e *corev1.Event, now time.Time, pid int) string {
	object := e.InvolvedObject.Name
	if e.InvolvedObject.Namespace != "" {
		object = e.InvolvedObject.Namespace + "/" + object
	}
	return fmt.Sprintf("I%s %7d event.go:389] \"Event occurred\" object=%q fieldPath=%q kind=%q apiVersion=%q type=%q reason=%q message=%q\n",
		now.Format("0102 15:04:05.000000"), pid, object, e.InvolvedObject.FieldPath, e.InvolvedObject.Kind,
		e.InvolvedObject.APIVersion, e.Type, e.Reason, e.Message)
}
