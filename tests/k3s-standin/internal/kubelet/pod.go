package kubelet

import (
	"fmt"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// missing is something that a pod needs and the API does not have.
type missing struct {
	message string
}

// needs is what was found out about a pod's needs before a step.
type needs struct {
	volumes *missing            // holds the whole pod up
	env     map[string]*missing // by container
}

// pod is one simulated pod. Its step takes the place of a kubelet's sync loop.
type pod struct {
	mu       sync.Mutex
	api      *v1.Pod // as the API has it
	ip       string
	hostIP   string
	init     []*container
	main     []*container
	mounted  bool
	lacking  string // the last FailedMount message
	started  time.Time
	stopAt   time.Time
	deadline bool
	gone     bool // may be deleted from the API
}

// newPod begins with what the API says about the pod, so that a pod goes on
// where it was when this process was started again. With reboot, what ran has
// died with the machine.
func newPod(api *v1.Pod, now time.Time, t Timings, images func(string) (string, bool), reboot bool) *pod {
	p := &pod{api: api, started: now}
	if api.Status.StartTime != nil {
		p.started = api.Status.StartTime.Time
	}
	for i := range api.Spec.InitContainers {
		spec := &api.Spec.InitContainers[i]
		c := &container{spec: spec, restart: initPolicy(api, spec)}
		c.mode = modeOf(api, spec, c.restart == v1.RestartPolicyAlways, t, images)
		if c.restart != v1.RestartPolicyAlways && c.mode.runs == t.Job {
			c.mode.runs = t.Init
		}
		p.init = append(p.init, c)
	}
	for i := range api.Spec.Containers {
		spec := &api.Spec.Containers[i]
		c := &container{spec: spec, restart: api.Spec.RestartPolicy}
		c.mode = modeOf(api, spec, c.restart == v1.RestartPolicyAlways, t, images)
		p.main = append(p.main, c)
	}
	p.adopt(now, t, reboot)
	return p
}

// initPolicy is the restart policy of an init container: Always makes it a sidecar.
func initPolicy(api *v1.Pod, c *v1.Container) v1.RestartPolicy {
	if c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways {
		return v1.RestartPolicyAlways
	}
	if api.Spec.RestartPolicy == v1.RestartPolicyNever {
		return v1.RestartPolicyNever
	}
	return v1.RestartPolicyOnFailure
}

// adopt takes over the containers' states of an earlier process.
func (p *pod) adopt(now time.Time, t Timings, reboot bool) {
	adoptAll(p.init, p.api.Status.InitContainerStatuses, now, t, reboot)
	adoptAll(p.main, p.api.Status.ContainerStatuses, now, t, reboot)
	if !reboot {
		p.ip = p.api.Status.PodIP
	}
	for _, c := range append(p.init, p.main...) {
		p.mounted = p.mounted || !reboot && c.phase != waiting
	}
}

func adoptAll(list []*container, from []v1.ContainerStatus, now time.Time, t Timings, reboot bool) {
	for _, c := range list {
		for i := range from {
			if from[i].Name == c.spec.Name {
				c.adopt(&from[i], now, t, reboot)
			}
		}
	}
}

func (c *container) adopt(s *v1.ContainerStatus, now time.Time, t Timings, reboot bool) {
	c.restarts, c.last, c.id, c.pulled = s.RestartCount, s.LastTerminationState.Terminated, s.ContainerID, s.ImageID != ""
	if s.RestartCount > 0 {
		c.backOff = t.BackOff
		c.crashed = int(s.RestartCount)
	}
	switch {
	case s.State.Running != nil:
		c.phase, c.startedAt = running, s.State.Running.StartedAt.Time
		c.ready, c.started = s.Ready, s.Started != nil && *s.Started
		c.schedule(now)
		if reboot {
			c.backOff = 0
			c.stop(now, 255, "Unknown")
		}
	case s.State.Terminated != nil:
		e := s.State.Terminated
		c.phase, c.startedAt, c.endedAt, c.exit, c.endReason = ended, e.StartedAt.Time, e.FinishedAt.Time, e.ExitCode, e.Reason
	case s.State.Waiting != nil:
		c.reason, c.message = s.State.Waiting.Reason, s.State.Waiting.Message
		if strings.HasSuffix(c.reason, "BackOff") {
			c.next = now.Add(t.BackOff)
		}
		if c.reason == "ErrImagePull" || c.reason == "ImagePullBackOff" {
			c.pulls = 1 // at least: nothing tells how many there were
		}
	}
}

// over says that the pod has ended and nothing will change any more.
func (p *pod) over() bool {
	return p.api.Status.Phase == v1.PodSucceeded || p.api.Status.Phase == v1.PodFailed
}

// step moves the pod on and returns the events to be told.
func (p *pod) step(now time.Time, t Timings, n needs) []event {
	if p.api.DeletionTimestamp != nil {
		return p.stepStop(now, t)
	}
	if p.over() {
		return nil
	}
	if limit := p.api.Spec.ActiveDeadlineSeconds; limit != nil && now.Sub(p.started) >= time.Duration(*limit)*time.Second {
		p.deadline = true
		p.kill(now, 137)
		return []event{{v1.EventTypeNormal, "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"}}
	}
	if !p.mounted {
		if n.volumes != nil {
			return p.unmounted(n.volumes)
		}
		p.mounted = true
	}
	return p.stepContainers(now, t, n)
}

func (p *pod) unmounted(m *missing) []event {
	p.waitAll()
	if p.lacking == m.message {
		return nil
	}
	p.lacking = m.message
	return []event{{v1.EventTypeWarning, "FailedMount", m.message}}
}

// waitAll gives every container that has not begun the reason a kubelet gives.
func (p *pod) waitAll() {
	for _, c := range append(append([]*container{}, p.init...), p.main...) {
		if c.phase == waiting && c.reason == "" {
			c.reason = "ContainerCreating"
			if len(p.init) > 0 {
				c.reason = "PodInitializing"
			}
		}
	}
}

func (p *pod) stepContainers(now time.Time, t Timings, n needs) (events []event) {
	p.waitAll()
	name := fmt.Sprintf("%s_%s(%s)", p.api.Name, p.api.Namespace, p.api.UID)
	for _, c := range p.init {
		events = append(events, c.step(now, t, name, n.env[c.spec.Name])...)
		if !c.initialized() {
			return events
		}
	}
	for _, c := range p.main {
		events = append(events, c.step(now, t, name, n.env[c.spec.Name])...)
	}
	if p.finished() {
		for _, c := range p.init { // sidecars end with the pod
			if c.phase == running {
				c.restart = v1.RestartPolicyNever
				c.stop(now, 0, "Completed")
			}
		}
	}
	return events
}

// initialized says whether the next container may start.
func (c *container) initialized() bool {
	if c.restart == v1.RestartPolicyAlways {
		return c.started || c.restarts > 0 && c.last != nil
	}
	return c.phase == ended && c.exit == 0
}

func (p *pod) initialized() bool {
	for _, c := range p.init {
		if !c.initialized() {
			return false
		}
	}
	return true
}

// finished says that no main container runs or will run again.
func (p *pod) finished() bool {
	for _, c := range p.main {
		if c.phase != ended || c.again() {
			return false
		}
	}
	return true
}

// stepStop ends the containers of a deleted pod, then the pod.
func (p *pod) stepStop(now time.Time, t Timings) (events []event) {
	if p.stopAt.IsZero() {
		stop := t.Stop
		if grace := p.api.DeletionGracePeriodSeconds; grace != nil {
			stop = min(stop, time.Duration(*grace)*time.Second)
		}
		p.stopAt = now.Add(stop)
		for _, c := range append(append([]*container{}, p.init...), p.main...) {
			if c.phase == running {
				events = append(events, event{v1.EventTypeNormal, "Killing", "Stopping container " + c.spec.Name})
			}
		}
	}
	if !now.Before(p.stopAt) {
		p.kill(now, 0)
		p.gone = true
	}
	return events
}

func (p *pod) kill(now time.Time, exit int32) {
	reason := "Completed"
	if exit != 0 {
		reason = "Error"
	}
	for _, c := range append(append([]*container{}, p.init...), p.main...) {
		c.restart = v1.RestartPolicyNever
		if c.phase == running {
			c.stop(now, exit, reason)
		}
	}
}

// wake is when step has to be called again; zero when only a change in the
// API can change the pod.
func (p *pod) wake(now time.Time) time.Time {
	if p.gone {
		return time.Time{}
	}
	if p.api.DeletionTimestamp != nil {
		return p.stopAt
	}
	if p.over() {
		return time.Time{}
	}
	var at time.Time
	earlier := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if limit := p.api.Spec.ActiveDeadlineSeconds; limit != nil {
		earlier(p.started.Add(time.Duration(*limit) * time.Second))
	}
	if !p.mounted {
		earlier(now.Add(2 * time.Second))
		return at
	}
	for _, c := range append(append([]*container{}, p.init...), p.main...) {
		earlier(c.next)
		if c.reason == "CreateContainerConfigError" && c.phase == waiting {
			earlier(now.Add(2 * time.Second))
		}
		if !c.initialized() && isInit(p, c) {
			return at
		}
	}
	return at
}

func isInit(p *pod, c *container) bool {
	for _, i := range p.init {
		if i == c {
			return true
		}
	}
	return false
}

// status is the pod as the API shall show it.
func (p *pod) status(now time.Time) v1.PodStatus {
	s := *p.api.Status.DeepCopy()
	start := metav1.NewTime(p.started)
	s.StartTime = &start
	s.HostIP, s.HostIPs = p.hostIP, []v1.HostIP{{IP: p.hostIP}}
	if p.mounted && p.ip != "" {
		s.PodIP, s.PodIPs = p.ip, []v1.PodIP{{IP: p.ip}}
	}
	s.InitContainerStatuses, s.ContainerStatuses = nil, nil
	for _, c := range p.init {
		cs := c.status()
		if c.restart != v1.RestartPolicyAlways {
			cs.Ready = c.phase == ended && c.exit == 0
		}
		s.InitContainerStatuses = append(s.InitContainerStatuses, cs)
	}
	for _, c := range p.main {
		s.ContainerStatuses = append(s.ContainerStatuses, c.status())
	}
	s.Phase = p.phase()
	if p.deadline {
		s.Phase, s.Reason, s.Message = v1.PodFailed, "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
	}
	p.conditions(&s, now)
	return s
}

// phase sums the containers up as kubelets do.
func (p *pod) phase() v1.PodPhase {
	for _, c := range p.init {
		switch {
		case c.initialized():
		case c.phase == ended && !c.again():
			return v1.PodFailed
		default:
			return v1.PodPending
		}
	}
	var live, fresh, failed int
	for _, c := range p.main {
		switch {
		case c.phase == running, c.phase == waiting && c.last != nil, c.phase == ended && c.again():
			live++
		case c.phase == waiting:
			fresh++
		case c.exit != 0:
			failed++
		}
	}
	switch {
	case fresh > 0 && p.api.DeletionTimestamp == nil:
		return v1.PodPending
	case live > 0:
		return v1.PodRunning
	case failed > 0 || fresh > 0:
		return v1.PodFailed
	}
	return v1.PodSucceeded
}
