package faults

import (
	"fmt"
	"maps"
	"path"
	"slices"
)

// stages are the names that At knows, and when they are passed. A fault at a
// stage that does not exist would silently not happen, so it is refused.
var stages = map[string]string{
	"agent.connect": "an agent asks its server for the CA; failing: tried again every 2 s",
	"agent.config":  "an agent asks for its configuration; failing: tried again every 5 to 10 s",
	"join.agent":    "a server answers an agent's call for its configuration; failing: 503",
	"join.server":   "a server answers another one's call for the files that they share; failing: 503",

	"server.start":    "a server has read its configuration and touched nothing",
	"server.prepared": "shared files are from the cluster or the own database; certificates are not made yet",
	"etcd.start":      "before etcd starts or joins",
	"server.ready":    "the apiserver is ready, systemd has not been told",

	"encryption.written":   "a new encryption configuration is on disk, not in the datastore",
	"encryption.entered":   "the new stage is in the state file or on the Node",
	"encryption.saved":     "the new configuration is in the datastore",
	"rotate-keys.active":   "rotate-keys has announced itself on the Node; nothing is changed yet",
	"rotate-keys.written":  "rotate-keys has added the new key; the apiserver has not reloaded",
	"rotate-keys.reload":   "the apiserver has reloaded and rotate-keys sees it; failing or slow: as if it had not yet (gives up after 60 s)",
	"rotate-keys.reloaded": "the apiserver uses the new key; no Secret is rewritten yet",
	"reencrypt.progress":   "in the middle of rewriting, with every progress event",
	"reencrypt.rewritten":  "all Secrets are rewritten; the old key is still there",

	"snapshot.save":          "before a snapshot is taken; failing: the snapshot fails",
	"restore.moved":          "a restore has moved the old database aside",
	"restore.restored":       "the snapshot is unpacked; membership is not reset",
	"token-rotate.passwords": "token rotate has changed the passwords file; the record is sealed by the old token",
	"token-rotate.rekeyed":   "the record is sealed by the new token",
	"webhook.answer":         "a webhook of simulated pods is about to be answered; failing: it answers 500",
	"helm.chart":             "a HelmChart's job is about to be made; failing: the install fails",
}

// Stages are the names of all stages, in order.
func Stages() []string { return slices.Sorted(maps.Keys(stages)) }

// knownStage says what is wrong with a stage's name or pattern.
func knownStage(pattern string) error {
	for stage := range stages {
		match, err := path.Match(pattern, stage)
		if err != nil {
			return err
		}
		if match {
			return nil
		}
	}
	return fmt.Errorf("no stage is named %s", pattern)
}
