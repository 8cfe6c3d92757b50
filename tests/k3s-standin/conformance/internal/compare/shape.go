package compare

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Shape compares two JSON documents: the same keys, the same types, and the same values once what varies is put aside.
// Of lists whose length follows from when one looks (items) each recorded element is compared with one of its name.
func Shape(recorded, got []byte, place Place) []Difference {
	var wanted, found any
	for _, side := range []struct {
		name string
		text []byte
		into *any
	}{{"recorded", recorded, &wanted}, {"got", got, &found}} {
		decoder := json.NewDecoder(bytes.NewReader(side.text))
		decoder.UseNumber()
		if err := decoder.Decode(side.into); err != nil {
			return []Difference{{"JSON", "a JSON document", fmt.Sprintf("%s: %v: %.300s", side.name, err, side.text)}}
		}
	}
	s := shape{recorded: reader{place: Recorded}, got: reader{place: place}}
	s.walk("", "", wanted, found)
	return s.differences
}

// Values of these keys are not compared: they are those of the machine, or of the moment.
var machineKeys = map[string]bool{
	"uid": true, "resourceVersion": true, "machineID": true, "bootID": true, "systemUUID": true, "kernelVersion": true,
	"osImage": true, "cpu": true, "memory": true, "ephemeral-storage": true, "sizeBytes": true, "size": true,
	"generation": true, "ID": true, "raft_term": true, "cluster_id": true, "member_id": true, "podCIDR": true,
	"snapshot-token-hash": true, "k3s.io/node-config-hash": true, "checksum": true, "architecture": true,
}

// openLists may have any length.
var openLists = map[string]bool{"items": true, "images": true, "members": true, "podCIDRs": true}

type shape struct {
	recorded, got reader
	differences   []Difference
}

func (s *shape) differ(path, expected, got string) {
	s.differences = append(s.differences, Difference{"JSON at " + path, expected, got})
}

func (s *shape) walk(path, key string, wanted, found any) {
	switch w := wanted.(type) {
	case map[string]any:
		f, ok := found.(map[string]any)
		if !ok {
			s.differ(path, "an object", fmt.Sprintf("%T", found))
			return
		}
		for _, name := range slices.Sorted(maps.Keys(w)) {
			if _, ok := f[name]; !ok {
				s.differ(path, "key "+name, "no such key")
				continue
			}
			s.walk(path+"."+name, name, w[name], f[name])
		}
		for _, name := range slices.Sorted(maps.Keys(f)) {
			if _, ok := w[name]; !ok && name != simulatedKey {
				s.differ(path, "no such key", "key "+name)
			}
		}
	case []any:
		f, ok := found.([]any)
		if !ok {
			s.differ(path, "a list", fmt.Sprintf("%T", found))
			return
		}
		s.list(path, key, w, f)
	default:
		s.value(path, key, wanted, found)
	}
}

func (s *shape) list(path, key string, wanted, found []any) {
	if len(wanted) > 0 && len(found) == 0 || !openLists[key] && len(wanted) != len(found) {
		s.differ(path, fmt.Sprintf("%d elements", len(wanted)), fmt.Sprintf("%d elements", len(found)))
		return
	}
	wanted, found = byType(wanted), byType(found)
	if key == "finalizers" { // in the order in which their controllers came to it
		inOrder := func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }
		slices.SortFunc(wanted, inOrder)
		slices.SortFunc(found, inOrder)
	}
	for i := range wanted {
		at := fmt.Sprintf("%s[%d]", path, i)
		if name := objectName(&s.recorded, wanted[i]); key == "items" && name != "" {
			j := slices.IndexFunc(found, func(f any) bool { return objectName(&s.got, f) == name })
			if j < 0 {
				s.differ(at, name, "no object of this name")
				continue
			}
			s.walk(at, key, wanted[i], found[j])
		} else if i < len(found) {
			s.walk(at, key, wanted[i], found[i])
		}
	}
}

// objectName is a Kubernetes object's name without what varies: several objects may have it.
func objectName(r *reader, element any) string {
	object, _ := element.(map[string]any)
	metadata, _ := object["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	return r.line(name).Text
}

// byType puts conditions and addresses in the order of their types.
func byType(list []any) []any {
	name := func(element any) string {
		object, _ := element.(map[string]any)
		text, _ := object["type"].(string)
		if text == "" {
			text, _ = object["name"].(string)
		}
		return text
	}
	sorted := slices.Clone(list)
	slices.SortStableFunc(sorted, func(a, b any) int { return strings.Compare(name(a), name(b)) })
	return sorted
}

func (s *shape) value(path, key string, wanted, found any) {
	if fmt.Sprintf("%T", wanted) != fmt.Sprintf("%T", found) {
		s.differ(path, fmt.Sprintf("%T %v", wanted, wanted), fmt.Sprintf("%T %v", found, found))
		return
	}
	if machineKeys[key] || machineKeys[strings.TrimPrefix(key, "etcd.k3s.cattle.io/")] {
		return
	}
	w, f := s.recorded.line(fmt.Sprint(wanted)).Text, s.got.line(fmt.Sprint(found)).Text
	if w != f {
		s.differ(path, w, f)
	}
}
