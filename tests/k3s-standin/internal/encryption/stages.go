package encryption

import (
	"fmt"
	"strings"
)

// The stages of a rotation, as annotation and state file carry them.
const (
	StageStart             = "start"
	StagePrepare           = "prepare"
	StageRotate            = "rotate"
	StageRotateKeys        = "rotate_keys" // only a request, never found on a node
	StageReencryptRequest  = "reencrypt_request"
	StageReencryptActive   = "reencrypt_active" // only on the Node, never in the state file
	StageReencryptFinished = "reencrypt_finished"
)

// HashAnnotation is the Node annotation `<stage>-<sha256 of the configuration>`.
const HashAnnotation = "k3s.io/encryption-config-hash"

// ControlPlaneLabel selects the Nodes whose annotations are compared.
const ControlPlaneLabel = "node-role.kubernetes.io/control-plane=true"

// NodeState is one control-plane Node's annotation.
type NodeState struct {
	Name       string
	Annotation string // empty: none
}

// split takes an annotation or state apart.
func split(value string) (stage, hash string, ok bool) {
	return strings.Cut(value, "-")
}

// CompareNodes checks that all Nodes that carry an annotation carry the same one. Nodes without one are passed over:
// that is why `status` says "All hashes match" when only one server has been restarted with the flag.
func CompareNodes(nodes []NodeState) error {
	first := -1
	for i, node := range nodes {
		switch {
		case node.Annotation == "":
		case first < 0:
			first = i
		case node.Annotation != nodes[first].Annotation:
			return fmt.Errorf("hash does not match between %s and %s", nodes[first].Name, node.Name)
		}
	}
	return nil
}

// StageOf returns stage and hash of one Node's annotation.
func StageOf(node NodeState) (stage, hash string, err error) {
	if node.Annotation == "" {
		return "", "", fmt.Errorf("missing annotation on node %s", node.Name)
	}
	stage, hash, ok := split(node.Annotation)
	if !ok {
		return "", "", fmt.Errorf("invalid annotation %s found on node %s", node.Annotation, node.Name)
	}
	return stage, hash, nil
}

// before names the stages from which a request may be made.
func before(request string) []string {
	switch request {
	case StagePrepare, StageRotateKeys:
		return []string{StageStart, StageReencryptFinished}
	case StageRotate:
		return []string{StagePrepare}
	case StageReencryptRequest:
		return []string{StageRotate}
	default:
		return nil
	}
}

// Verify decides whether a request may be carried out: all Nodes agree, this Node is in a right stage, and its
// annotation is about the configuration on this disk, in this order. diskHash is asked only when the rest is right.
func Verify(request string, nodes []NodeState, self NodeState, diskHash func() (string, error)) error {
	if err := CompareNodes(nodes); err != nil {
		return err
	}
	stage, hash, err := StageOf(self)
	if err != nil {
		return err
	}
	allowed := false
	for _, one := range before(request) {
		allowed = allowed || one == stage
	}
	if !allowed {
		return fmt.Errorf("incorrect stage: %s found on node %s", stage, self.Name)
	}
	disk, err := diskHash()
	if err != nil {
		return err
	}
	if hash != disk {
		return fmt.Errorf("invalid hash: %s found on node %s", hash, self.Name)
	}
	return nil
}

// rotated puts the last key first: the newest one writes from now on.
func rotated(keys []Key) []Key {
	if len(keys) < 2 {
		return keys
	}
	out := make([]Key, 0, len(keys))
	out = append(out, keys[len(keys)-1])
	return append(out, keys[:len(keys)-1]...)
}
