package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Kind is the type of a flag's value.
type Kind int

// The kinds of flags.
const (
	String Kind = iota
	Bool
	Int
	Duration
	List
)

// Flag describes one flag of a command as K3s' help prints it.
type Flag struct {
	Names   []string // long names and single letters; the first one is the key in Values
	Kind    Kind
	Default string // as text; printed by the help
	Env     string
	Usage   string
	Hidden  bool
}

// Values are parsed flags.
type Values struct {
	flags map[string]Flag
	set   map[string][]string
	Rest  []string // what follows the flags
}

// ErrUsage is wrapped by errors of a wrong command line: the caller prints "Incorrect Usage: <err>" and the help on stdout.
var ErrUsage = errors.New("usage")

// UsageError is a wrong command line; its text is the one K3s prints.
type UsageError struct{ Text string }

func (e *UsageError) Error() string { return e.Text }

// Is makes errors.Is(err, ErrUsage) true.
func (e *UsageError) Is(target error) bool { return target == ErrUsage }

type sink struct {
	v    *Values
	flag Flag
	used map[string]map[string]bool
	name string
}

func (s *sink) String() string   { return "" }
func (s *sink) IsBoolFlag() bool { return s.flag.Kind == Bool }
func (s *sink) Set(text string) error {
	key := s.flag.Names[0]
	switch s.flag.Kind {
	case Int:
		var n int
		if _, err := fmt.Sscanf(text, "%d", &n); err != nil || fmt.Sprint(n) != text {
			return errors.New("parse error")
		}
	case Duration:
		if _, err := time.ParseDuration(text); err != nil {
			return errors.New("parse error")
		}
	case Bool:
		if text != "true" && text != "false" {
			return errors.New("parse error")
		}
	}
	if s.used[key] == nil {
		s.used[key] = map[string]bool{}
	}
	s.used[key][s.name] = true
	if s.flag.Kind == List {
		s.v.set[key] = append(s.v.set[key], text)
		return nil
	}
	s.v.set[key] = []string{text}
	return nil
}

// Parse reads args (without the command's own name) by flags; environment variables fill what the command line leaves out.
func Parse(flags []Flag, args []string) (*Values, error) {
	v := &Values{flags: map[string]Flag{}, set: map[string][]string{}}
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	used := map[string]map[string]bool{}
	for _, f := range flags {
		v.flags[f.Names[0]] = f
		for _, name := range f.Names {
			fs.Var(&sink{v: v, flag: f, used: used, name: name}, name, "")
		}
	}
	if err := fs.Parse(args); err != nil {
		return nil, &UsageError{Text: err.Error()}
	}
	for _, f := range flags {
		if len(used[f.Names[0]]) > 1 {
			var twins []string
			for _, name := range reversed(f.Names) {
				if used[f.Names[0]][name] {
					twins = append(twins, name)
				}
			}
			return nil, &UsageError{Text: "Cannot use two forms of the same flag: " + strings.Join(twins[:2], " ")}
		}
	}
	for _, f := range flags {
		key := f.Names[0]
		if _, given := v.set[key]; given || f.Env == "" {
			continue
		}
		for _, env := range strings.Split(f.Env, ",") {
			if text := os.Getenv(strings.TrimSpace(env)); text != "" {
				_ = (&sink{v: v, flag: f, used: used, name: key}).Set(text)
				break
			}
		}
	}
	v.Rest = fs.Args()
	return v, nil
}

func reversed(in []string) []string {
	out := make([]string, 0, len(in))
	for i := len(in) - 1; i >= 0; i-- {
		out = append(out, in[i])
	}
	return out
}

// Given says whether the flag was set by command line, file or environment.
func (v *Values) Given(name string) bool { _, ok := v.set[name]; return ok }

// Text returns a flag's value, or its default.
func (v *Values) Text(name string) string {
	if got, ok := v.set[name]; ok && len(got) > 0 {
		return got[len(got)-1]
	}
	return v.flags[name].Default
}

// Bool returns a flag's truth.
func (v *Values) Bool(name string) bool { return v.Text(name) == "true" }

// Int returns a flag's number.
func (v *Values) Int(name string) int {
	var n int
	_, _ = fmt.Sscanf(v.Text(name), "%d", &n)
	return n
}

// Duration returns a flag's span of time.
func (v *Values) Duration(name string) time.Duration {
	d, _ := time.ParseDuration(v.Text(name))
	return d
}

// List returns a flag's values.
func (v *Values) List(name string) []string {
	if got, ok := v.set[name]; ok {
		return got
	}
	if def := v.flags[name].Default; def != "" {
		return strings.Split(def, ",")
	}
	return nil
}

// Split returns a flag's values with comma-separated ones taken apart; only some of K3s' list flags do that.
func (v *Values) Split(name string) []string {
	var out []string
	for _, text := range v.List(name) {
		for _, part := range strings.Split(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}

// All returns everything that was given.
func (v *Values) All() map[string][]string { return v.set }
