package kubelet

import (
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// conditions sets the pod conditions that belong to a kubelet and leaves the others alone.
func (p *pod) conditions(s *v1.PodStatus, now time.Time) {
	over := s.Phase == v1.PodSucceeded || s.Phase == v1.PodFailed
	set(s, now, v1.PodReadyToStartContainers, p.mounted && !over, "", "")

	var incomplete, unready []string
	for _, c := range p.init {
		if !c.initialized() {
			incomplete = append(incomplete, c.spec.Name)
		}
		if c.restart == v1.RestartPolicyAlways && !c.ready {
			unready = append(unready, c.spec.Name)
		}
	}
	for _, c := range p.main {
		if !c.ready {
			unready = append(unready, c.spec.Name)
		}
	}
	reason, message := "", ""
	switch {
	case s.Phase == v1.PodSucceeded:
		reason = "PodCompleted"
		incomplete = nil
	case len(incomplete) > 0:
		reason, message = "ContainersNotInitialized", fmt.Sprintf("containers with incomplete status: [%s]", strings.Join(incomplete, " "))
	}
	set(s, now, v1.PodInitialized, len(incomplete) == 0, reason, message)

	reason, message = "", ""
	switch {
	case s.Phase == v1.PodSucceeded:
		reason = "PodCompleted"
	case s.Phase == v1.PodFailed:
		reason = "PodFailed"
	case len(unready) > 0:
		reason, message = "ContainersNotReady", fmt.Sprintf("containers with unready status: [%s]", strings.Join(unready, " "))
	}
	ready := len(unready) == 0 && !over
	set(s, now, v1.ContainersReady, ready, reason, message)
	if gate, closed := p.closedGate(s); ready && closed {
		ready, reason = false, "ReadinessGatesNotReady"
		message = fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist or is not True.", gate)
	}
	set(s, now, v1.PodReady, ready, reason, message)
}

// closedGate returns the first readiness gate whose condition is not True.
func (p *pod) closedGate(s *v1.PodStatus) (string, bool) {
	for _, gate := range p.api.Spec.ReadinessGates {
		open := false
		for _, c := range s.Conditions {
			open = open || c.Type == gate.ConditionType && c.Status == v1.ConditionTrue
		}
		if !open {
			return string(gate.ConditionType), true
		}
	}
	return "", false
}

func set(s *v1.PodStatus, now time.Time, kind v1.PodConditionType, is bool, reason, message string) {
	status := v1.ConditionFalse
	if is {
		status = v1.ConditionTrue
	}
	want := v1.PodCondition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(now)}
	for i := range s.Conditions {
		have := &s.Conditions[i]
		if have.Type != kind {
			continue
		}
		if have.Status == status {
			want.LastTransitionTime = have.LastTransitionTime
		}
		*have = want
		return
	}
	s.Conditions = append(s.Conditions, want)
}
