package faults

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

// The kinds of fault, the first word of a line.
const (
	kindCrash = "crash"
	kindFail  = "fail"
	kindSlow  = "slow"
	kindHold  = "hold"
	kindAPI   = "api"
	kindDisk  = "disk"
	kindClock = "clock"
	kindCerts = "certs"
	kindImage = "image"
)

// fault is one line of the file.
type fault struct {
	raw    string // the line, which also names the fault in the file of hits
	kind   string
	target string // stage pattern, image pattern
	text   string // error text, simulation mode
	length time.Duration

	how   string // crash
	after int    // crash: fires at this passing
	times int    // 0 = without end

	status     int // api; 0 = reset
	share      float64
	verb       string
	path       string
	everyone   bool
	retryAfter int
	seed       int64
	every      time.Duration // disk
}

// parse reads the whole file. Lines that cannot be read are returned apart,
// each with its number and the reason.
func parse(content string) (list []fault, broken []string) {
	for i, line := range strings.Split(content, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f, err := parseLine(line)
		if err != nil {
			broken = append(broken, fmt.Sprintf("line %d: %v: %s", i+1, err, line))
			continue
		}
		list = append(list, f)
	}
	return list, broken
}

func parseLine(line string) (fault, error) {
	words := strings.Fields(line)
	f := fault{raw: line, kind: words[0], how: "kill", after: 1, share: 1, seed: 1, every: time.Second}
	rest, err := f.options(words[1:])
	if err != nil {
		return f, err
	}
	switch f.kind {
	case kindCrash, kindFail, kindSlow, kindHold:
		return f, f.stage(rest)
	case kindAPI:
		return f, f.api(rest)
	case kindDisk, kindClock, kindCerts:
		if len(rest) != 1 {
			return f, fmt.Errorf("one duration is wanted")
		}
		f.length, err = time.ParseDuration(rest[0])
		if err == nil && f.kind != kindClock && f.length <= 0 {
			err = fmt.Errorf("the duration must be longer than 0")
		}
		return f, err
	case kindImage:
		if len(rest) != 2 {
			return f, fmt.Errorf("a pattern and a mode are wanted")
		}
		f.target, f.text = rest[0], rest[1]
		_, err = path.Match(f.target, "")
		return f, err
	}
	return f, fmt.Errorf("unknown fault %q", f.kind)
}

// stage takes the stage's name and what follows it for that kind.
func (f *fault) stage(rest []string) error {
	if len(rest) == 0 {
		return fmt.Errorf("a stage is wanted")
	}
	f.target, rest = rest[0], rest[1:]
	if err := knownStage(f.target); err != nil {
		return err
	}
	switch f.kind {
	case kindCrash:
		if f.times == 0 {
			f.times = 1
		}
	case kindSlow:
		if len(rest) != 1 {
			return fmt.Errorf("a duration is wanted")
		}
		var err error
		f.length, err = time.ParseDuration(rest[0])
		return err
	case kindFail:
		f.text = strings.Join(rest, " ")
		if f.text == "" {
			f.text = "failed on demand (" + f.target + ")"
		}
		return nil
	}
	if len(rest) > 0 {
		return fmt.Errorf("unknown word %q", rest[0])
	}
	return nil
}

func (f *fault) api(rest []string) error {
	for _, word := range rest {
		if word != "reset" || f.status != 0 {
			return fmt.Errorf("unknown word %q", word)
		}
	}
	if len(rest) == 0 && f.status == 0 {
		return fmt.Errorf("status=N or reset is wanted")
	}
	return nil
}

// options takes the words of the form name=value that this kind of fault
// knows and returns the others in their order.
func (f *fault) options(words []string) ([]string, error) {
	var rest []string
	for _, word := range words {
		name, value, found := strings.Cut(word, "=")
		if !found || !optionsOf(f.kind)[name] {
			rest = append(rest, word)
			continue
		}
		if err := f.option(name, value); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return rest, nil
}

func optionsOf(kind string) map[string]bool {
	switch kind {
	case kindCrash:
		return map[string]bool{"how": true, "after": true, "times": true}
	case kindFail, kindSlow, kindHold:
		return map[string]bool{"times": true}
	case kindAPI:
		return map[string]bool{
			"status": true, "share": true, "verb": true, "path": true, "who": true,
			"retry-after": true, "seed": true, "times": true,
		}
	case kindDisk:
		return map[string]bool{"every": true}
	}
	return nil
}

func (f *fault) option(name, value string) (err error) {
	switch name {
	case "how":
		if value != "kill" && value != "exit" && value != "panic" {
			return fmt.Errorf("kill, exit or panic is wanted")
		}
		f.how = value
	case "after":
		f.after, err = number(value, 1)
	case "times":
		f.times, err = number(value, 1)
	case "status":
		f.status, err = number(value, 400)
	case "share":
		f.share, err = strconv.ParseFloat(value, 64)
		if err == nil && (f.share <= 0 || f.share > 1) {
			err = fmt.Errorf("more than 0 and at most 1 is wanted")
		}
	case "verb":
		f.verb = strings.ToUpper(value)
	case "path":
		f.path = value
	case "who":
		if value != "clients" && value != "all" {
			return fmt.Errorf("clients or all is wanted")
		}
		f.everyone = value == "all"
	case "retry-after":
		f.retryAfter, err = number(value, 0)
	case "seed":
		f.seed, err = strconv.ParseInt(value, 10, 64)
	case "every":
		f.every, err = time.ParseDuration(value)
		if err == nil && f.every <= 0 {
			err = fmt.Errorf("the duration must be longer than 0")
		}
	}
	return err
}

func number(value string, least int) (int, error) {
	n, err := strconv.Atoi(value)
	if err == nil && n < least {
		err = fmt.Errorf("at least %d is wanted", least)
	}
	return n, err
}
