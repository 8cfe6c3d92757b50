package kubelet

import (
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// clock is the time of a test: it moves only when the test says so.
type clock struct {
	t    *testing.T
	now  time.Time
	pod  *pod
	log  []event
	need needs
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func noImages(string) (string, bool) { return "", false }

func start(t *testing.T, api *v1.Pod) *clock {
	t.Helper()
	return &clock{t: t, now: epoch, pod: newPod(api, epoch, DefaultTimings(), noImages, false)}
}

// run moves the pod on for that long, step by step as its wake says.
func (c *clock) run(length time.Duration) {
	c.t.Helper()
	end := c.now.Add(length)
	for range 10000 {
		c.log = append(c.log, c.pod.step(c.now, DefaultTimings(), c.need)...)
		c.pod.api.Status = c.pod.status(c.now)
		at := c.pod.wake(c.now)
		if at.IsZero() || at.After(end) {
			c.now = end
			return
		}
		if at.After(c.now) {
			c.now = at
		} else {
			c.now = c.now.Add(time.Millisecond)
		}
	}
	c.t.Fatal("the pod never comes to rest")
}

// shown is what `kubectl get pod` is made of.
func (c *clock) shown() string {
	s := c.pod.api.Status
	words := []string{string(s.Phase)}
	for _, cs := range append(append([]v1.ContainerStatus{}, s.InitContainerStatuses...), s.ContainerStatuses...) {
		switch {
		case cs.State.Waiting != nil:
			words = append(words, cs.State.Waiting.Reason)
		case cs.State.Terminated != nil:
			words = append(words, cs.State.Terminated.Reason)
		case cs.Ready:
			words = append(words, "ready")
		default:
			words = append(words, "running")
		}
	}
	for _, cond := range s.Conditions {
		if cond.Type == v1.PodReady && cond.Status == v1.ConditionTrue {
			words = append(words, "READY")
		}
	}
	return strings.Join(words, " ")
}

func (c *clock) want(shown string) {
	c.t.Helper()
	if got := c.shown(); got != shown {
		c.t.Errorf("after %v: %q, want %q", c.now.Sub(epoch), got, shown)
	}
}

func (c *clock) told(reason string) (n int) {
	for _, e := range c.log {
		if e.reason == reason {
			n++
		}
	}
	return n
}

func podOf(policy v1.RestartPolicy, simulate string, containers ...v1.Container) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "1"}}
	p.Spec.RestartPolicy, p.Spec.Containers = policy, containers
	if simulate != "" {
		p.Annotations = map[string]string{simulateAnnotation: simulate}
	}
	return p
}

func TestAServerBecomesReadyAfterAMoment(t *testing.T) {
	c := start(t, podOf(v1.RestartPolicyAlways, "", v1.Container{Name: "a", Image: "nginx"}))
	c.run(0)
	c.want("Pending ContainerCreating")
	c.run(time.Second)
	c.want("Running ready READY")
	if image := c.pod.api.Status.ContainerStatuses[0].Image; image != "docker.io/library/nginx:latest" {
		t.Errorf("image %s", image)
	}
}

func TestReadinessWaitsForTheProbesFirstDelay(t *testing.T) {
	c := start(t, podOf(v1.RestartPolicyAlways, "", v1.Container{
		Name: "a", Image: "a", StartupProbe: &v1.Probe{InitialDelaySeconds: 2}, ReadinessProbe: &v1.Probe{InitialDelaySeconds: 5},
	}))
	c.run(6 * time.Second)
	c.want("Running running")
	c.run(3 * time.Second)
	c.want("Running ready READY")
}

func TestInitContainersRunOneByOneBeforeTheOthers(t *testing.T) {
	api := podOf(v1.RestartPolicyAlways, "", v1.Container{Name: "main", Image: "a"})
	always := v1.ContainerRestartPolicyAlways
	api.Spec.InitContainers = []v1.Container{
		{Name: "one", Image: "a"}, {Name: "side", Image: "a", RestartPolicy: &always}, {Name: "two", Image: "a", Command: []string{"sleep", "30"}},
	}
	c := start(t, api)
	c.run(10 * time.Second)
	c.want("Pending Completed ready running PodInitializing")
	c.run(30 * time.Second)
	c.want("Running Completed ready Completed ready READY")
}

func TestAMissingSecretHoldsThePodUntilItIsThere(t *testing.T) {
	c := start(t, podOf(v1.RestartPolicyAlways, "", v1.Container{Name: "a", Image: "a"}))
	c.need.volumes = &missing{`MountVolume.SetUp failed for volume "v" : secret "s" not found`}
	c.run(time.Minute)
	c.want("Pending ContainerCreating")
	if n := c.told("FailedMount"); n != 1 {
		t.Errorf("told %d times", n)
	}
	c.need.volumes = nil
	c.run(10 * time.Second)
	c.want("Running ready READY")
}

func TestAMissingVariableIsAConfigError(t *testing.T) {
	c := start(t, podOf(v1.RestartPolicyAlways, "", v1.Container{Name: "a", Image: "a"}))
	c.need.env = map[string]*missing{"a": {`secret "s" not found`}}
	c.run(10 * time.Second)
	c.want("Pending CreateContainerConfigError")
	c.need.env = nil
	c.run(10 * time.Second)
	c.want("Running ready READY")
}

func TestAnImageThatCannotBePulledBacksOff(t *testing.T) {
	c := start(t, podOf(v1.RestartPolicyAlways, "pull-fails=2", v1.Container{Name: "a", Image: "reg/x:1"}))
	c.run(300 * time.Millisecond)
	c.want("Pending ErrImagePull")
	c.run(2 * time.Second)
	c.want("Pending ImagePullBackOff")
	c.run(time.Minute)
	c.want("Running ready READY")
	for reason, n := range map[string]int{"BackOff": 2, "Pulling": 1, "Pulled": 1} {
		if got := c.told(reason); got != n {
			t.Errorf("%s: told %d times, want %d", reason, got, n)
		}
	}
}

func TestAPullThatFailedInAnEarlierProcessIsGoneOnWith(t *testing.T) {
	for reason, after := range map[string]time.Duration{"ErrImagePull": 300 * time.Millisecond, "ImagePullBackOff": 2 * time.Second} {
		c := start(t, podOf(v1.RestartPolicyAlways, "pull-fails", v1.Container{Name: "a", Image: "reg/x:1"}))
		c.run(after)
		c.want("Pending " + reason)
		c.pod = newPod(c.pod.api, c.now, DefaultTimings(), noImages, false)
		c.run(2 * time.Second)
		c.want("Pending ImagePullBackOff")
		c.run(time.Minute)
		c.want("Pending ImagePullBackOff")
	}
}

func TestACrashingContainerBacksOffLongerAndLonger(t *testing.T) {
	c := start(t, podOf(v1.RestartPolicyAlways, "crash", v1.Container{Name: "a", Image: "a"}))
	c.run(5 * time.Second)
	c.want("Running CrashLoopBackOff")
	restarts := func() int32 { return c.pod.api.Status.ContainerStatuses[0].RestartCount }
	if n := restarts(); n != 1 {
		t.Errorf("%d restarts after 5 s", n)
	}
	c.run(15 * time.Minute)
	if n := restarts(); n < 6 || n > 8 {
		t.Errorf("%d restarts after 15 min", n)
	}
	if last := c.pod.api.Status.ContainerStatuses[0].LastTerminationState.Terminated; last == nil || last.ExitCode != 1 {
		t.Errorf("last state %+v", last)
	}
}

func TestAContainerThatCrashesTwiceRecovers(t *testing.T) {
	c := start(t, podOf(v1.RestartPolicyAlways, "oom=2", v1.Container{Name: "a", Image: "a"}))
	c.run(time.Minute)
	c.want("Running ready READY")
	s := c.pod.api.Status.ContainerStatuses[0]
	if s.RestartCount != 2 || s.LastTerminationState.Terminated.Reason != "OOMKilled" {
		t.Errorf("%+v", s)
	}
}

func TestJobsEndAsTheirExitCodesSay(t *testing.T) {
	for simulate, shown := range map[string]string{"": "Succeeded Completed", "exit=3": "Failed Error", "crash": "Failed Error"} {
		c := start(t, podOf(v1.RestartPolicyNever, simulate, v1.Container{Name: "a", Image: "a"}))
		c.run(time.Minute)
		c.want(shown)
	}
	c := start(t, podOf(v1.RestartPolicyNever, "", v1.Container{Name: "a", Image: "a", Command: []string{"/bin/sh", "-c", "sleep 20"}}))
	c.run(19 * time.Second)
	c.want("Running ready READY")
	c.run(3 * time.Second)
	c.want("Succeeded Completed")
	c = start(t, podOf(v1.RestartPolicyOnFailure, "crash=1", v1.Container{Name: "a", Image: "a"}))
	c.run(time.Minute)
	c.want("Succeeded Completed")
}

func TestADeadlineFailsThePod(t *testing.T) {
	api := podOf(v1.RestartPolicyNever, "runs=1h", v1.Container{Name: "a", Image: "a"})
	limit := int64(10)
	api.Spec.ActiveDeadlineSeconds = &limit
	c := start(t, api)
	c.run(20 * time.Second)
	c.want("Failed Error")
	if c.pod.api.Status.Reason != "DeadlineExceeded" {
		t.Errorf("reason %q", c.pod.api.Status.Reason)
	}
}

func TestAModeThatDoesNotExistIsAnErrorThatShows(t *testing.T) {
	c := start(t, podOf(v1.RestartPolicyAlways, "pull-fail", v1.Container{Name: "a", Image: "a"}))
	c.run(time.Minute)
	c.want("Pending CreateContainerConfigError")
}

func TestOneContainerCanHaveItsOwnMode(t *testing.T) {
	api := podOf(v1.RestartPolicyAlways, "", v1.Container{Name: "a", Image: "a"}, v1.Container{Name: "b", Image: "b"})
	api.Annotations = map[string]string{simulateAnnotation + ".b": "not-ready"}
	c := start(t, api)
	c.run(time.Minute)
	c.want("Running ready running")
}

func TestADeletedPodEndsAndMayGo(t *testing.T) {
	c := start(t, podOf(v1.RestartPolicyAlways, "", v1.Container{Name: "a", Image: "a"}))
	c.run(time.Second)
	now, grace := metav1.NewTime(c.now), int64(30)
	c.pod.api.DeletionTimestamp, c.pod.api.DeletionGracePeriodSeconds = &now, &grace
	c.run(time.Second)
	c.want("Succeeded Completed")
	if !c.pod.gone {
		t.Error("it stays")
	}
}

func TestAPodGoesOnAfterARestartOfTheAgentAndStartsAnewAfterAReboot(t *testing.T) {
	c := start(t, podOf(v1.RestartPolicyAlways, "", v1.Container{Name: "a", Image: "a"}))
	c.run(time.Second)
	before := c.pod.api.Status.ContainerStatuses[0]
	api := c.pod.api.DeepCopy()
	c.pod = newPod(api, c.now, DefaultTimings(), noImages, false)
	c.run(time.Minute)
	if after := c.pod.api.Status.ContainerStatuses[0]; after.RestartCount != 0 || after.ContainerID != before.ContainerID {
		t.Errorf("restart: %+v", after)
	}
	c.pod = newPod(api, c.now, DefaultTimings(), noImages, true)
	c.run(time.Minute)
	after := c.pod.api.Status.ContainerStatuses[0]
	if after.RestartCount != 1 || after.LastTerminationState.Terminated.ExitCode != 255 {
		t.Errorf("reboot: %+v", after)
	}
	c.want("Running ready READY")
}

func TestReadinessGatesHoldReadinessBack(t *testing.T) {
	api := podOf(v1.RestartPolicyAlways, "", v1.Container{Name: "a", Image: "a"})
	api.Spec.ReadinessGates = []v1.PodReadinessGate{{ConditionType: "x/open"}}
	c := start(t, api)
	c.run(time.Second)
	c.want("Running ready")
	c.pod.api.Status.Conditions = append(c.pod.api.Status.Conditions, v1.PodCondition{Type: "x/open", Status: v1.ConditionTrue})
	c.run(time.Second)
	c.want("Running ready READY")
}
