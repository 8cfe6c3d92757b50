// Package usage runs the command line of K3s' smaller commands (`k3s secrets-encrypt`, `etcd-snapshot`, `token`,
// `certificate`): it finds the subcommand, reads its flags, prints helps and wrong usages, and turns errors into log
// lines and exit statuses as K3s does. What a command does is not its business.
package usage

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"hmco-boot/k3s-standin/internal/config"
	"hmco-boot/k3s-standin/internal/logx"
)

// The exit statuses: a failed command, and an unknown subcommand.
const (
	failed  = 1
	unknown = 3
)

// Command is a command with subcommands, or one that does something.
type Command struct {
	Path     string   // as the help names it: "k3s secrets-encrypt status"
	Aliases  []string // other names of its last word
	About    string
	Flags    []config.Flag
	Commands []*Command
	// ReadsFile: values of config.yaml count, and keys that are no flags of the command are warned about.
	ReadsFile bool
	Run       func(v *config.Values, io logx.Streams) error
}

func (c *Command) name() string {
	return c.Path[strings.LastIndex(c.Path, " ")+1:]
}

// Execute runs the command with the arguments behind its name and returns the exit status.
func (c *Command) Execute(args []string, io logx.Streams) int {
	if c.Run != nil {
		return c.leaf(args, io)
	}
	if len(args) == 0 || args[0] == "--help" || args[0] == "-h" || args[0] == "help" {
		c.Help(io.Out)
		return 0
	}
	for _, sub := range c.Commands {
		if sub.name() == args[0] || contains(sub.Aliases, args[0]) {
			return sub.Execute(args[1:], io)
		}
	}
	if strings.HasPrefix(args[0], "-") {
		return c.wrong("flag provided but not defined: -"+strings.TrimLeft(args[0], "-"), io)
	}
	fmt.Fprintf(io.Err, "No help topic for '%s'\n", args[0])
	return unknown
}

func (c *Command) leaf(args []string, io logx.Streams) int {
	all := args
	if c.ReadsFile {
		more, err := config.FileArgs(args, c.knows, true)
		if err != nil {
			return fail(err)
		}
		all = append(append([]string{}, more...), args...)
	}
	values, err := config.Parse(c.Flags, all)
	var wrong *config.UsageError
	switch {
	case errors.As(err, &wrong) && strings.Contains(wrong.Text, "help requested"):
		c.Help(io.Out)
		return 0
	case errors.As(err, &wrong):
		return c.wrong(wrong.Text, io)
	case err != nil:
		return fail(err)
	}
	if err := c.Run(values, io); err != nil {
		return fail(err)
	}
	return 0
}

func (c *Command) knows(key string) bool {
	for _, f := range c.Flags {
		if contains(f.Names, key) {
			return true
		}
	}
	return false
}

func (c *Command) wrong(text string, io logx.Streams) int {
	fmt.Fprintf(io.Out, "Incorrect Usage: %s\n\n", text)
	c.Help(io.Out)
	return fail(errors.New(text))
}

func fail(err error) int {
	logx.With("fatal", nil, "Error: %v", err)
	return failed
}

// Help prints the help text.
func (c *Command) Help(w io.Writer) {
	fmt.Fprintf(w, "NAME:\n   %s - %s\n\n", c.Path, c.About)
	if c.Run == nil {
		fmt.Fprintf(w, "USAGE:\n   %s command [command options] [arguments...]\n\nCOMMANDS:\n", c.Path)
		table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		for _, sub := range c.Commands {
			names := append([]string{sub.name()}, sub.Aliases...)
			fmt.Fprintf(table, "   %s\t%s\n", strings.Join(names, ", "), sub.About)
		}
		table.Flush()
		fmt.Fprint(w, "\nOPTIONS:\n   --help, -h  show help\n   \n")
		return
	}
	fmt.Fprintf(w, "USAGE:\n   %s [command options] [arguments...]\n\nOPTIONS:\n", c.Path)
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, f := range c.Flags {
		if !f.Hidden {
			fmt.Fprintf(table, "   %s\t%s\n", flagNames(f), flagText(f))
		}
	}
	table.Flush()
	fmt.Fprint(w, "   \n")
}

// placeholder finds the word in backquotes that stands for the value, and the usage without the quotes.
func placeholder(f config.Flag) (word, text string) {
	word, text = "value", f.Usage
	if from := strings.IndexByte(text, '`'); from >= 0 {
		if length := strings.IndexByte(text[from+1:], '`'); length >= 0 {
			word = text[from+1 : from+1+length]
			text = text[:from] + word + text[from+length+2:]
		}
	}
	return word, text
}

func flagNames(f config.Flag) string {
	word, _ := placeholder(f)
	var out []string
	for _, name := range f.Names {
		text := "--" + name
		if len(name) == 1 {
			text = "-" + name
		}
		if f.Kind != config.Bool {
			text += " " + word
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func flagText(f config.Flag) string {
	_, text := placeholder(f)
	switch {
	case f.Default == "" || f.Kind == config.Bool:
	case f.Kind == config.String || f.Kind == config.List:
		text += fmt.Sprintf(" (default: %q)", f.Default)
	default:
		text += fmt.Sprintf(" (default: %s)", f.Default)
	}
	if f.Env != "" {
		var names []string
		for _, name := range strings.Split(f.Env, ",") {
			names = append(names, "$"+strings.TrimSpace(name))
		}
		text += " [" + strings.Join(names, ", ") + "]"
	}
	return text
}

func contains(list []string, one string) bool {
	for _, entry := range list {
		if entry == one {
			return true
		}
	}
	return false
}
