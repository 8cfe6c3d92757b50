package logx

import (
	"io"
	"os"
)

// Streams are the three standard streams of a command, so that tests can give their own.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// Std returns the process' own streams.
func Std() Streams { return Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr} }
