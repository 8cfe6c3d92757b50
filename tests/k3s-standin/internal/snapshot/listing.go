package snapshot

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"sigs.k8s.io/yaml"
)

// The names of the objects and of what is on them.
const (
	objectKind      = "ETCDSnapshotFile"
	objectVersion   = "k3s.cattle.io/v1"
	storageLabel    = "etcd.k3s.cattle.io/snapshot-storage-node"
	tokenAnnotation = "etcd.k3s.cattle.io/snapshot-token-hash"
)

// listing is what the server answers to a list and what `ls -o json` prints: made of files, not of the objects, hence
// names without the 6 hex and a creationTimestamp of null.
type listing struct {
	Kind       string   `json:"kind"`
	APIVersion string   `json:"apiVersion"`
	Metadata   struct{} `json:"metadata"`
	Items      []item   `json:"items"`
}

type item struct {
	Kind       string       `json:"kind"`
	APIVersion string       `json:"apiVersion"`
	Metadata   itemMetadata `json:"metadata"`
	Spec       itemSpec     `json:"spec"`
	Status     itemStatus   `json:"status"`
}

type itemMetadata struct {
	Name              string            `json:"name"`
	CreationTimestamp *time.Time        `json:"creationTimestamp"`
	Labels            map[string]string `json:"labels,omitempty"`
}

type itemSpec struct {
	SnapshotName string `json:"snapshotName"`
	NodeName     string `json:"nodeName"`
	Location     string `json:"location"`
}

type itemStatus struct {
	Size         string `json:"size,omitempty"`
	CreationTime string `json:"creationTime,omitempty"`
	ReadyToUse   bool   `json:"readyToUse"`
}

func listingOf(files []File) listing {
	out := listing{Kind: "List", APIVersion: "v1"}
	for _, file := range files {
		out.Items = append(out.Items, item{
			Kind: objectKind, APIVersion: objectVersion,
			Metadata: itemMetadata{Name: "local-" + file.Name, Labels: map[string]string{storageLabel: file.Node}},
			Spec:     itemSpec{SnapshotName: file.Name, NodeName: file.Node, Location: file.Location},
			Status: itemStatus{
				Size: strconv.FormatInt(file.Size, 10), CreationTime: file.Created.UTC().Format(time.RFC3339), ReadyToUse: true,
			},
		})
	}
	return out
}

// print prints the list: a table, or all of it with output json or yaml.
func (l listing) print(w io.Writer, output string) error {
	switch output {
	case "json":
		data, err := json.MarshalIndent(l, "", "    ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(w, string(data))
		return err
	case "yaml":
		data, err := yaml.Marshal(l)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintf(table, "Name\tLocation\tSize\tCreated\n")
	for _, one := range l.Items {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", one.Spec.SnapshotName, one.Spec.Location, one.Status.Size, one.Status.CreationTime)
	}
	return table.Flush()
}
