package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// File is one snapshot as files and objects show it.
type File struct {
	Name     string // of the file: BASE-NODE-UNIX, with .zip when compressed
	Node     string
	Location string // file:///...; empty when the snapshot failed
	Size     int64
	Created  time.Time
	Failure  string // why it failed; empty when it is there
}

const zipSuffix = ".zip"

// fileName is the name of a snapshot taken at now; the time is rounded, so it may lie in the future by half a second.
func fileName(base, node string, now time.Time) string {
	return fmt.Sprintf("%s-%s-%d", base, node, now.Round(time.Second).Unix())
}

// takenAt is the time in a snapshot's name, or the file's when there is none.
func takenAt(name string, modified time.Time) time.Time {
	name = strings.TrimSuffix(name, zipSuffix)
	if at := strings.LastIndexByte(name, '-'); at >= 0 {
		if unix, err := strconv.ParseInt(name[at+1:], 10, 64); err == nil {
			return time.Unix(unix, 0)
		}
	}
	return modified
}

// List reads the snapshots of a folder, sorted by name. A folder that is not there holds none.
func List(dir, node string) ([]File, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var out []File
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || info.IsDir() || strings.HasSuffix(info.Name(), ".part") || strings.HasPrefix(info.Name(), ".") {
			continue
		}
		out = append(out, File{
			Name: info.Name(), Node: node, Location: "file://" + filepath.Join(dir, info.Name()),
			Size: info.Size(), Created: takenAt(info.Name(), info.ModTime()),
		})
	}
	return out, nil
}

// surplus picks the files beyond the newest keep ones whose names begin with prefix, newest first. keep < 1 keeps all.
func surplus(files []File, prefix string, keep int) []File {
	if keep < 1 {
		return nil
	}
	var mine []File
	for _, file := range files {
		if strings.HasPrefix(file.Name, prefix) {
			mine = append(mine, file)
		}
	}
	sort.SliceStable(mine, func(i, j int) bool {
		if !mine[i].Created.Equal(mine[j].Created) {
			return mine[i].Created.After(mine[j].Created)
		}
		return mine[i].Name > mine[j].Name
	})
	if len(mine) <= keep {
		return nil
	}
	return mine[keep:]
}

// ObjectName is the name of the ETCDSnapshotFile: local-<file>-<6 hex of sha256(node + location)>. A file whose name is
// no Kubernetes name gets one made of its node and time.
func (f File) ObjectName() string {
	name := f.Name
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		name = fmt.Sprintf("etcd-snapshot-%s-%d", f.Node, f.Created.Unix())
		if strings.HasSuffix(f.Name, zipSuffix) {
			name += zipSuffix
		}
	}
	sum := sha256.Sum256([]byte(f.Node + f.Location))
	return "local-" + name + "-" + hex.EncodeToString(sum[:])[:6]
}
