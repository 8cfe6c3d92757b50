package kubelet

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
)

// The annotations by which a pod chooses what is simulated.
const (
	simulateAnnotation = "hmco-boot/simulate"
	logsAnnotation     = "hmco-boot/logs"
	execAnnotation     = "hmco-boot/exec"
)

// endless is a count or a time without end.
const endless = -1

// mode is how one container behaves.
type mode struct {
	pullFails int           // how many pulls fail; endless
	crashes   int           // how many runs crash; endless
	crash     time.Duration // after the start
	oom       bool
	exit      int32
	notReady  bool
	ready     time.Duration // after the start
	started   time.Duration // startup probe, after the start
	runs      time.Duration // endless
	creating  bool
	wrong     string // why the mode cannot be read
}

// modeOf reads what is asked for the container, and what its specification says.
func modeOf(pod *v1.Pod, c *v1.Container, restarts bool, t Timings, images func(string) (string, bool)) mode {
	m := mode{runs: endless, crash: t.Crash}
	if !restarts {
		m.runs = t.Job
		if length, found := sleepOf(c); found {
			m.runs = length
		}
	}
	if c.StartupProbe != nil {
		m.started = seconds(c.StartupProbe.InitialDelaySeconds)
	}
	if c.ReadinessProbe != nil {
		m.ready = m.started + seconds(c.ReadinessProbe.InitialDelaySeconds)
	}
	text, found := pod.Annotations[simulateAnnotation+"."+c.Name]
	if !found {
		text, found = pod.Annotations[simulateAnnotation]
	}
	if !found {
		text, _ = images(c.Image)
	}
	for _, word := range strings.Split(text, ",") {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		if err := m.set(word); err != nil {
			m.wrong = fmt.Sprintf("%s %q: %v", simulateAnnotation, word, err)
		}
	}
	return m
}

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }

func (m *mode) set(word string) (err error) {
	name, value, given := strings.Cut(word, "=")
	count := func() (int, error) {
		if !given {
			return endless, nil
		}
		return strconv.Atoi(value)
	}
	switch name {
	case "pull-fails":
		m.pullFails, err = count()
	case "crash", "oom":
		m.oom = name == "oom"
		m.crashes, err = count()
	case "exit":
		var code int
		code, err = strconv.Atoi(value)
		m.exit = int32(code)
	case "not-ready":
		m.notReady = true
	case "ready-after":
		m.ready, err = time.ParseDuration(value)
	case "runs":
		m.runs, err = time.ParseDuration(value)
		m.crash = m.runs
	case "creating":
		m.creating = true
	default:
		err = fmt.Errorf("no such mode")
	}
	return err
}

// sleepOf recognises the command `sleep N`, also as the argument of a shell's -c.
func sleepOf(c *v1.Container) (time.Duration, bool) {
	words := append(append([]string{}, c.Command...), c.Args...)
	if len(words) == 3 && words[1] == "-c" {
		words = strings.Fields(words[2])
	}
	if len(words) != 2 || path.Base(words[0]) != "sleep" {
		return 0, false
	}
	if words[1] == "infinity" || words[1] == "inf" {
		return endless, true
	}
	if n, err := strconv.ParseFloat(words[1], 64); err == nil && n >= 0 {
		return time.Duration(n * float64(time.Second)), true
	}
	length, err := time.ParseDuration(words[1])
	return length, err == nil && length >= 0
}

// Timings are how long the simulated things take.
type Timings struct {
	Pull, Start, Init, Job, Crash, Stop time.Duration
	BackOff, BackOffMax                 time.Duration // of crashing containers and failing pulls
	Lease, Status                       time.Duration // heartbeats
}

// DefaultTimings are short where nothing depends on them, and a kubelet's own
// where something does (back-off, heartbeats).
func DefaultTimings() Timings {
	return Timings{
		Pull: 200 * time.Millisecond, Start: 100 * time.Millisecond, Init: 200 * time.Millisecond, Job: time.Second,
		Crash: 500 * time.Millisecond, Stop: 200 * time.Millisecond,
		BackOff: 10 * time.Second, BackOffMax: 5 * time.Minute,
		Lease: 10 * time.Second, Status: 5 * time.Minute,
	}
}
