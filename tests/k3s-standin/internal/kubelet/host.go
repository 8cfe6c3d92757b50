package kubelet

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// host is what a Node tells about its machine.
type host struct {
	arch, kernel, osImage, machineID, bootID string
	cpus                                     int
	memoryKi                                 int64
	diskKi                                   int64
}

func readHost() host {
	h := host{arch: runtime.GOARCH, cpus: runtime.NumCPU()}
	h.kernel = line("/proc/sys/kernel/osrelease")
	h.bootID = line("/proc/sys/kernel/random/boot_id")
	h.machineID = line("/etc/machine-id")
	h.osImage = "Linux"
	for _, l := range strings.Split(read("/etc/os-release"), "\n") {
		if value, found := strings.CutPrefix(l, "PRETTY_NAME="); found {
			h.osImage = strings.Trim(value, `"`)
		}
	}
	for _, l := range strings.Split(read("/proc/meminfo"), "\n") {
		if value, found := strings.CutPrefix(l, "MemTotal:"); found {
			h.memoryKi, _ = strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		}
	}
	var fs syscall.Statfs_t
	if syscall.Statfs("/", &fs) == nil {
		h.diskKi = int64(fs.Blocks) * fs.Bsize / 1024
	}
	return h
}

func read(file string) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(content)
}

func line(file string) string { return strings.TrimSpace(read(file)) }

func (h host) resources(disk string) v1.ResourceList {
	return v1.ResourceList{
		v1.ResourceCPU:    *resource.NewQuantity(int64(h.cpus), resource.DecimalSI),
		v1.ResourceMemory: resource.MustParse(fmt.Sprintf("%dKi", h.memoryKi)), v1.ResourceEphemeralStorage: resource.MustParse(disk),
		v1.ResourcePods: resource.MustParse("110"), "hugepages-1Gi": resource.MustParse("0"), "hugepages-2Mi": resource.MustParse("0"),
	}
}

func (h host) capacity() v1.ResourceList { return h.resources(fmt.Sprintf("%dKi", h.diskKi)) }

// allocatable is the capacity less the 5 % of the disk below which a kubelet evicts.
func (h host) allocatable() v1.ResourceList {
	return h.resources(strconv.FormatInt(h.diskKi*1024/100*95, 10))
}
