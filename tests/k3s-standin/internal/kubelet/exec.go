package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// shell answers the commands that are executed in a simulated container.
type shell struct {
	api  *v1.Pod
	spec *v1.Container
}

// answer is one entry of the annotation hmco-boot/exec.
type answer struct {
	Command string `json:"command"`
	Stdout  string `json:"stdout"`
	Stderr  string `json:"stderr"`
	Exit    int    `json:"exit"`
}

// ExecInContainer answers one command. What cannot be answered truthfully
// fails: nothing runs here that could have done it.
func (s *shell) ExecInContainer(_ context.Context, _ string, _ types.UID, _ string, cmd []string, _ io.Reader, out, errOut io.WriteCloser,
	_ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration,
) error {
	a := s.answer(cmd)
	if out != nil {
		_, _ = io.WriteString(out, a.Stdout)
	}
	switch {
	case errOut != nil:
		_, _ = io.WriteString(errOut, a.Stderr)
	case out != nil: // a terminal has one stream
		_, _ = io.WriteString(out, a.Stderr)
	}
	if a.Exit != 0 {
		return utilexec.CodeExitError{Err: fmt.Errorf("command terminated with exit code %d", a.Exit), Code: a.Exit}
	}
	return nil
}

// AttachContainer says that there is nothing to attach to.
func (s *shell) AttachContainer(_ context.Context, _ string, _ types.UID, _ string, _ io.Reader, out, errOut io.WriteCloser,
	_ bool, _ <-chan remotecommand.TerminalSize,
) error {
	text := "simulated container " + s.spec.Name + ": no process runs in it\n"
	if errOut != nil {
		_, _ = io.WriteString(errOut, text)
	} else if out != nil {
		_, _ = io.WriteString(out, text)
	}
	return nil
}

func (s *shell) answer(cmd []string) answer {
	line := strings.Join(cmd, " ")
	if text, found := s.api.Annotations[execAnnotation]; found {
		var list []answer
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			return answer{Stderr: fmt.Sprintf("annotation %s: %v\n", execAnnotation, err), Exit: 125}
		}
		for _, a := range list {
			match, err := regexp.MatchString(a.Command, line)
			if err != nil {
				return answer{Stderr: fmt.Sprintf("annotation %s: %v\n", execAnnotation, err), Exit: 125}
			}
			if match {
				return a
			}
		}
	}
	if a, known := s.builtin(cmd); known {
		return a
	}
	return answer{
		Stderr: fmt.Sprintf("simulated container %s: no process runs in it, cannot run %q (annotation %s can give the answer)\n",
			s.spec.Name, line, execAnnotation),
		Exit: 126,
	}
}

// builtin answers the few commands whose result is known without a process.
func (s *shell) builtin(cmd []string) (answer, bool) {
	if len(cmd) == 3 && cmd[1] == "-c" && !strings.ContainsAny(cmd[2], "|&;<>$`\"'\\*?") {
		cmd = strings.Fields(cmd[2])
	}
	if len(cmd) == 0 {
		return answer{}, false
	}
	switch name := cmd[0][strings.LastIndex(cmd[0], "/")+1:]; {
	case name == "true":
		return answer{}, true
	case name == "false":
		return answer{Exit: 1}, true
	case name == "echo":
		return answer{Stdout: strings.Join(cmd[1:], " ") + "\n"}, true
	case name == "hostname" && len(cmd) == 1:
		return answer{Stdout: s.hostname() + "\n"}, true
	case name == "env" && len(cmd) == 1, name == "printenv" && len(cmd) == 1:
		var b strings.Builder
		fmt.Fprintf(&b, "HOSTNAME=%s\n", s.hostname())
		for _, e := range s.spec.Env {
			if e.ValueFrom == nil {
				fmt.Fprintf(&b, "%s=%s\n", e.Name, e.Value)
			}
		}
		return answer{Stdout: b.String()}, true
	}
	return answer{}, false
}

func (s *shell) hostname() string {
	switch {
	case s.api.Spec.HostNetwork:
		return s.api.Spec.NodeName
	case s.api.Spec.Hostname != "":
		return s.api.Spec.Hostname
	}
	return s.api.Name
}
