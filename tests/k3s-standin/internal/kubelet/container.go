package kubelet

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// phase is where a container is on its way.
type phase int

const (
	waiting phase = iota // not begun, pulling, or held up
	running
	ended
)

// container is one simulated container.
type container struct {
	spec    *v1.Container
	mode    mode
	restart v1.RestartPolicy // its own policy: Always for a sidecar

	phase    phase
	reason   string // of waiting
	message  string
	next     time.Time // when the state changes by itself; zero: not by itself
	pulled   bool
	pulls    int
	crashed  int
	restarts int32
	backOff  time.Duration // of the next restart
	id       string

	startedAt, endedAt time.Time
	exit               int32
	endReason          string
	last               *v1.ContainerStateTerminated
	ready, started     bool
}

// event is what a step wants to be told to the API.
type event struct {
	kind, reason, message string
}

// step moves the container on. env is what its environment lacks (reason and
// message), empty when nothing. It returns the events of this step.
func (c *container) step(now time.Time, t Timings, pod string, env *missing) []event {
	switch c.phase {
	case waiting:
		return c.stepWaiting(now, t, pod, env)
	case running:
		return c.stepRunning(now, t)
	case ended:
		if c.again() {
			return c.stepRestart(now, t, pod)
		}
	}
	return nil
}

func (c *container) stepWaiting(now time.Time, t Timings, pod string, env *missing) []event {
	if !c.next.IsZero() && now.Before(c.next) {
		return nil
	}
	switch {
	case c.mode.wrong != "":
		c.hold("CreateContainerConfigError", c.mode.wrong)
		return nil
	case c.mode.creating:
		return nil
	case !c.pulled:
		return c.stepPull(now, t)
	case env != nil:
		first := c.message != env.message
		c.hold("CreateContainerConfigError", env.message)
		if first {
			return []event{{v1.EventTypeWarning, "Failed", "Error: " + env.message}}
		}
		return nil
	}
	c.begin(now)
	return []event{
		{v1.EventTypeNormal, "Created", "Created container: " + c.spec.Name},
		{v1.EventTypeNormal, "Started", "Started container " + c.spec.Name},
	}
}

func (c *container) hold(reason, message string) {
	c.reason, c.message, c.next = reason, message, time.Time{}
}

// stepPull begins a pull, or ends it.
func (c *container) stepPull(now time.Time, t Timings) []event {
	image := c.spec.Image
	switch c.reason {
	case "", "ContainerCreating", "PodInitializing":
		if c.next.IsZero() {
			c.next = now.Add(t.Pull)
			return []event{{v1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", image)}}
		}
	case "ErrImagePull":
		// the failure was shown; from now on the back-off is
		wait := min(t.BackOff<<min(c.pulls-1, 10), t.BackOffMax)
		c.reason, c.next = "ImagePullBackOff", now.Add(wait)
		c.message = fmt.Sprintf("Back-off pulling image %q: ErrImagePull: %s", image, c.message)
		return []event{
			{v1.EventTypeNormal, "BackOff", fmt.Sprintf("Back-off pulling image %q", image)},
			{v1.EventTypeWarning, "Failed", "Error: ImagePullBackOff"},
		}
	}
	if c.mode.pullFails == endless || c.pulls < c.mode.pullFails {
		c.pulls++
		full := fullImage(image)
		c.reason, c.next = "ErrImagePull", now.Add(t.Pull)
		c.message = fmt.Sprintf("rpc error: code = NotFound desc = failed to pull and unpack image %q: failed to resolve reference %q: %s: not found",
			full, full, full)
		return []event{
			{v1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %s", image, c.message)},
			{v1.EventTypeWarning, "Failed", "Error: ErrImagePull"},
		}
	}
	c.pulled, c.next = true, now.Add(t.Start)
	return []event{{v1.EventTypeNormal, "Pulled", fmt.Sprintf("Successfully pulled image %q in %v (%v including waiting)", image, t.Pull, t.Pull)}}
}

func (c *container) begin(now time.Time) {
	if c.last != nil {
		c.restarts++
	}
	c.phase, c.reason, c.message = running, "", ""
	c.startedAt, c.id = now, newID()
	c.started, c.ready = false, false
	c.next = now // its probes are looked at next
}

// schedule sets the time of the next change of a running container.
func (c *container) schedule(now time.Time) {
	c.next = time.Time{}
	for _, after := range []time.Duration{c.mode.started, c.mode.ready, c.life()} {
		if after == endless {
			continue
		}
		if at := c.startedAt.Add(after); at.After(now) && (c.next.IsZero() || at.Before(c.next)) {
			c.next = at
		}
	}
}

// life is how long this run of the container lasts.
func (c *container) life() time.Duration {
	if c.crashing() {
		return c.mode.crash
	}
	return c.mode.runs
}

func (c *container) crashing() bool {
	return c.mode.crashes == endless || c.crashed < c.mode.crashes
}

func (c *container) stepRunning(now time.Time, t Timings) []event {
	age := now.Sub(c.startedAt)
	if life := c.life(); life != endless && age >= life {
		c.end(now)
		return nil
	}
	c.started = age >= c.mode.started
	c.ready = c.started && !c.mode.notReady && age >= c.mode.ready
	c.schedule(now)
	return nil
}

// end ends a run by itself.
func (c *container) end(now time.Time) {
	exit, reason := c.mode.exit, "Completed"
	if c.crashing() {
		c.crashed++
		exit, reason = 1, "Error"
		if c.mode.exit != 0 {
			exit = c.mode.exit
		}
		if c.mode.oom {
			exit, reason = 137, "OOMKilled"
		}
	} else if exit != 0 {
		reason = "Error"
	}
	c.stop(now, exit, reason)
}

func (c *container) stop(now time.Time, exit int32, reason string) {
	c.phase, c.endedAt, c.exit, c.endReason = ended, now, exit, reason
	c.ready, c.started, c.next = false, false, time.Time{}
	if c.again() {
		c.next = now.Add(200 * time.Millisecond)
	}
}

// again says whether an ended container is started again.
func (c *container) again() bool {
	return c.restart == v1.RestartPolicyAlways || c.restart == v1.RestartPolicyOnFailure && c.exit != 0
}

// stepRestart starts an ended container again: at once the first time, with a
// back-off that doubles after that, as kubelets do.
func (c *container) stepRestart(now time.Time, t Timings, pod string) []event {
	if now.Before(c.next) {
		return nil
	}
	if c.endedAt.Sub(c.startedAt) > 2*t.BackOffMax {
		c.backOff = 0
	}
	terminated := c.terminated()
	c.last = &terminated
	wait := c.backOff
	c.backOff = min(max(2*c.backOff, t.BackOff), t.BackOffMax)
	c.phase, c.next = waiting, now.Add(wait)
	if wait == 0 {
		c.begin(now)
		return []event{
			{v1.EventTypeNormal, "Pulled", fmt.Sprintf("Container image %q already present on machine", c.spec.Image)},
			{v1.EventTypeNormal, "Created", "Created container: " + c.spec.Name},
			{v1.EventTypeNormal, "Started", "Started container " + c.spec.Name},
		}
	}
	c.reason = "CrashLoopBackOff"
	c.message = fmt.Sprintf("back-off %v restarting failed container=%s pod=%s", wait, c.spec.Name, pod)
	return []event{{v1.EventTypeWarning, "BackOff", fmt.Sprintf("Back-off restarting failed container %s in pod %s", c.spec.Name, pod)}}
}

func (c *container) terminated() v1.ContainerStateTerminated {
	return v1.ContainerStateTerminated{
		ExitCode: c.exit, Reason: c.endReason, StartedAt: metav1.NewTime(c.startedAt), FinishedAt: metav1.NewTime(c.endedAt), ContainerID: c.id,
	}
}

// status is the container as the API shows it.
func (c *container) status() v1.ContainerStatus {
	started := c.started
	s := v1.ContainerStatus{
		Name: c.spec.Name, Image: c.spec.Image, RestartCount: c.restarts, Ready: c.ready, Started: &started, ContainerID: c.id,
	}
	if c.pulled {
		s.Image, s.ImageID = fullImage(c.spec.Image), imageID(c.spec.Image)
	}
	if c.last != nil {
		last := *c.last
		s.LastTerminationState.Terminated = &last
	}
	switch c.phase {
	case waiting:
		s.State.Waiting = &v1.ContainerStateWaiting{Reason: c.reason, Message: c.message}
		s.ContainerID = ""
		if c.last != nil {
			s.ContainerID = c.last.ContainerID
		}
	case running:
		s.State.Running = &v1.ContainerStateRunning{StartedAt: metav1.NewTime(c.startedAt)}
	case ended:
		terminated := c.terminated()
		s.State.Terminated = &terminated
	}
	return s
}

func newID() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return "containerd://" + hex.EncodeToString(b[:])
}

func imageID(image string) string {
	sum := sha256.Sum256([]byte("simulated " + image))
	name := fullImage(image)
	if i := strings.LastIndex(name, ":"); i > strings.LastIndex(name, "/") {
		name = name[:i]
	}
	name, _, _ = strings.Cut(name, "@")
	return name + "@sha256:" + hex.EncodeToString(sum[:])
}

// fullImage completes an image's name as containerd does.
func fullImage(image string) string {
	first, rest, found := strings.Cut(image, "/")
	switch {
	case !found:
		image = "docker.io/library/" + image
	case !strings.ContainsAny(first, ".:") && first != "localhost":
		image = "docker.io/" + first + "/" + rest
	}
	if strings.LastIndex(image, ":") <= strings.LastIndex(image, "/") && !strings.Contains(image, "@") {
		image += ":latest"
	}
	return image
}
