package encryption

import (
	"context"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	typedcore "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/retry"

	"hmco-boot/k3s-standin/internal/events"
	"hmco-boot/k3s-standin/internal/faults"
	"hmco-boot/k3s-standin/internal/logx"
)

// Events on the Node: their source and reasons.
const (
	eventSource    = "secrets-reencrypt"
	reasonProgress = "SecretsProgress"
	reasonComplete = "SecretsUpdateComplete"
	reasonError    = "SecretsUpdateError"
	progressEvery  = 50
	eventsLinger   = 30 * time.Second
	pageSize       = 500
)

// rewriteSecrets writes every Secret back as it is, through the apiserver, which seals it with the key that is first in
// the configuration it has loaded (not: that is on disk).
func rewriteSecrets(ctx context.Context, client kubernetes.Interface, nodeName string) error {
	logx.Infof("Creating secrets-reencrypt event broadcaster")
	broadcaster := record.NewBroadcaster()
	// Ending it at once would lose what has not been sent yet.
	defer time.AfterFunc(eventsLinger, broadcaster.Shutdown)
	events.Print(broadcaster)
	broadcaster.StartRecordingToSink(&typedcore.EventSinkImpl{Interface: client.CoreV1().Events(metav1.NamespaceDefault)})
	recorder := broadcaster.NewRecorder(scheme(), corev1.EventSource{Component: eventSource})
	node, err := client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	// As real events about Nodes are: named by kind, name and uid, and kept in the namespace default.
	about := &corev1.ObjectReference{Kind: "Node", Name: nodeName, UID: node.UID}
	say := func(kind, reason, text string) { recorder.Event(about, kind, reason, text) }
	done, err := rewritePages(ctx, client, func(count int) {
		say(corev1.EventTypeNormal, reasonProgress, fmt.Sprintf("reencrypted %d secrets", count))
	})
	if err != nil {
		say(corev1.EventTypeWarning, reasonError, err.Error())
		return err
	}
	say(corev1.EventTypeNormal, reasonComplete, fmt.Sprintf("reencrypted %d secrets", done))
	return nil
}

func rewritePages(ctx context.Context, client kubernetes.Interface, progress func(count int)) (int, error) {
	done := 0
	options := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := client.CoreV1().Secrets(metav1.NamespaceAll).List(ctx, options)
		if err != nil {
			return done, err
		}
		for i := range page.Items {
			if err := rewriteOne(ctx, client, &page.Items[i]); err != nil {
				return done, fmt.Errorf("failed to update secret %s/%s: %w", page.Items[i].Namespace, page.Items[i].Name, err)
			}
			done++
			if done%progressEvery == 0 {
				progress(done)
				if err := faults.At("reencrypt.progress"); err != nil {
					return done, err
				}
			}
		}
		if page.Continue == "" {
			return done, nil
		}
		options.Continue = page.Continue
	}
}

// rewriteOne writes one Secret back; one that has changed meanwhile is read again, one that is gone needs nothing.
func rewriteOne(ctx context.Context, client kubernetes.Interface, secret *corev1.Secret) error {
	secrets := client.CoreV1().Secrets(secret.Namespace)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		_, err := secrets.Update(ctx, secret, metav1.UpdateOptions{})
		if apierrors.IsConflict(err) {
			fresh, again := secrets.Get(ctx, secret.Name, metav1.GetOptions{})
			if again != nil {
				return again
			}
			secret = fresh
		}
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// annotateFromState puts the Node back to what the state file says.
func (s *server) annotateFromState(ctx context.Context, client kubernetes.Interface) error {
	state, err := os.ReadFile(s.stateFile)
	if err != nil {
		return err
	}
	return s.annotate(ctx, client, string(state))
}

func scheme() *runtime.Scheme {
	out := runtime.NewScheme()
	_ = corev1.AddToScheme(out)
	return out
}
