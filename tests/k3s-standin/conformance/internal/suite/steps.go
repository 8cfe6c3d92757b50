package suite

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"hmco-boot/k3s-standin/conformance/internal/compare"
	"hmco-boot/k3s-standin/conformance/internal/record"
)

// WriteFile puts a file on a node.
func (s *Session) WriteFile(node, path, text string) {
	if err := s.Node(node).Write(path, []byte(s.adapt(text)), "644"); err != nil {
		s.Fail("%w", err)
	}
}

// CopyFiles copies files that hold secrets from one node to the same place on another.
func (s *Session) CopyFiles(from, to string, paths ...string) {
	for _, path := range paths {
		result, err := s.Node(from).Run("cat "+path, time.Minute)
		if err == nil && result.Exit == 0 {
			err = s.Node(to).Write(path, []byte(result.Stdout), "600")
		}
		if err != nil {
			s.Fail("copying %s from %s to %s: %w", path, from, to, err)
		}
	}
}

// Mark notes the time as that which recorded commands name.
func (s *Session) Mark(recorded string) {
	s.checkDone()
	s.Vars[recorded] = time.Now().UTC().Format("2006-01-02 15:04:05")
}

// Shape compares the JSON that a command prints with a recorded document.
func (s *Session) Shape(file, node, command string) {
	c := ShapeCase(file)
	if !s.options.Selected(c) {
		return
	}
	begun := time.Now()
	recorded, err := os.ReadFile(filepath.Join(s.options.Recordings, file))
	if err != nil {
		s.Fail("%w", err)
	}
	_, _ = s.Node(node).Run(calm, time.Minute)
	result, err := s.Node(node).Run(s.adapt(command), time.Minute)
	differences := compare.Shape(recorded, []byte(result.Stdout), s.place)
	if err != nil || result.Exit != 0 {
		differences = []compare.Difference{{What: "exit", Expected: "0", Got: fmt.Sprintf("%d: %s (%v)", result.Exit, result.Stderr, err)}}
	}
	s.judge(c, differences, time.Since(begun).Seconds())
}

// ShapeCase stands for a recorded JSON document among the cases.
func ShapeCase(file string) *record.Case {
	return &record.Case{File: "json", Name: file, Title: file, Node: "n1"}
}
