package encryption

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// Status is the answer of GET /v1-k3s/encrypt/status and what `status -o json` prints.
type Status struct {
	Stage        string   `json:"stage"`
	ActiveKey    string   `json:"activekey"`
	Enable       *bool    `json:"enable,omitempty"`
	HashMatch    bool     `json:"hashmatch,omitempty"`
	HashError    string   `json:"hasherror,omitempty"`
	InactiveKeys []string `json:"inactivekeys,omitempty"`
}

// StatusOf puts a status together. It looks at annotations only: a configuration on disk whose hash differs from the
// annotation is not noticed, as with the real one.
func StatusOf(providers Providers, stage string, match error) Status {
	enabled := providers.Enabled
	status := Status{Stage: stage, Enable: &enabled}
	if match == nil {
		status.HashMatch = true
	} else {
		status.HashError = match.Error()
	}
	for i, key := range providers.Keys {
		if i == 0 && enabled {
			status.ActiveKey = key.Name
		} else {
			status.InactiveKeys = append(status.InactiveKeys, key.Name)
		}
	}
	return status
}

// PrintJSON prints the status indented with tabs and an end of line.
func (s Status) PrintJSON(w io.Writer) error {
	data, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, string(data))
	return err
}

// PrintText prints the status as a text and a table.
func (s Status) PrintText(w io.Writer) error {
	if s.Enable == nil {
		_, err := fmt.Fprintln(w, "Encryption Status: Disabled, no configuration file found")
		return err
	}
	word := "Disabled"
	if *s.Enable {
		word = "Enabled"
	}
	fmt.Fprintf(w, "Encryption Status: %s\n", word)
	fmt.Fprintf(w, "Current Rotation Stage: %s\n", s.Stage)
	hashes := "All hashes match"
	if !s.HashMatch {
		hashes = s.HashError
	}
	fmt.Fprintf(w, "Server Encryption Hashes: %s\n\n", hashes)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "Active\tKey Type\tName\n")
	fmt.Fprintf(table, "------\t--------\t----\n")
	if s.ActiveKey != "" {
		fmt.Fprintf(table, " *\tAES-CBC\t%s\n", s.ActiveKey)
	}
	for _, name := range s.InactiveKeys {
		fmt.Fprintf(table, "\tAES-CBC\t%s\n", name)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}
