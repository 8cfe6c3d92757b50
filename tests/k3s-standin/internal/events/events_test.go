package events

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestAnEventIsPrintedAsKlogPrintsIt(t *testing.T) {
	e := &corev1.Event{
		InvolvedObject: corev1.ObjectReference{Kind: "Node", Name: "n1"},
		Type:           "Normal", Reason: "SecretsUpdateComplete", Message: "reencrypted 4 secrets",
	}
	got := Line(e, time.Date(2026, 11, 21, 9, 10, 47, 371356000, time.UTC), 6157)
	want := `I1121 09:10:47.371356    6157 event.go:389] "Event occurred" object="n1" fieldPath="" kind="Node" apiVersion="" type="Normal" reason="SecretsUpdateComplete" message="reencrypted 4 secrets"` + "\n"
	if got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}
