package compare

import (
	"regexp"
	"strings"

	"hmco-boot/k3s-standin/conformance/internal/record"
)

// Noise is what of a server's log is not compared, and why.
type Noise struct {
	Pattern *regexp.Regexp
	Reason  string
}

// NotCompared lists it. Lines of klog are compared where they are not named here.
var NotCompared = []Noise{
	{regexp.MustCompile(`^[IWE] (?:options|controllermanager|cronjob_controllerv2|shared_informer|resource_quota_monitor|instance|container_manager_linux|reconciler|cpu_manager|iptables|node_lifecycle_controller|network_policy_controller)\.go\]`),
		"what Kubernetes' own controllers and the kubelet say of themselves"},
	{regexp.MustCompile(`msg="(?:dynamiclistener |Active TLS secret )`), "the TLS listener's certificate cache"},
	{regexp.MustCompile(`msg="(?:certificate CN=|generated self-signed CA certificate )`),
		"one line for each certificate that is made"},
	{regexp.MustCompile(`msg="(?:Failed to load kernel module|Set sysctl|no subnet found for key|Wrote flannel|Running flannel|Starting flannel|Flannel found|flannel exited|The interface host0|(?:Starting the )?[Nn]etwork policy controller|Starting network policy controller)`),
		"flannel, network policy and kernel modules: there are none"},
	{regexp.MustCompile(`msg="(?:Running (?:containerd|kubelet|kube-proxy)|Logging containerd|containerd is now running|Tunnel authorizer)`),
		"container runtime, kubelet and kube-proxy: there are none"},
	{regexp.MustCompile(`overlayfs.*snapshotter|failed to wait for untained node|flannel failed to wait|Waiting for control-plane node \w+ startup|Failed to record snapshots for cluster: nodes`),
		"the recording machine's own trouble: no overlay mounts in its scratch folders, and a node that is too slow to register before it is stopped"},
	{regexp.MustCompile(`(?i)remotedialer|proxy\. Empty dialer|Connecting to proxy|Handling backend connection`),
		"the tunnel between servers and agents: there is none"},
	{regexp.MustCompile(`Sending HTTP/\S+ 503 response to .*: (?:starting|runtime core not ready)`),
		"who asks while a server starts, and how often, follows from times alone"},
	{regexp.MustCompile(`Failed to get apiserver address from etcd`), "the load balancer asks etcd while that stops or starts"},
	{regexp.MustCompile(`Failed to list nodes with etcd role: runtime core not ready`), "as above"},
	{regexp.MustCompile(`^Error: |^$`), "cobra's own words, printed before the log line that says the same"},
}

var componentLine = regexp.MustCompile(`^(time="<time>" level=info msg="Running (?:kube-apiserver|kube-scheduler|kube-controller-manager|cloud-controller-manager)) .*$`)

func compared(lines []Line) []Line {
	var out []Line
next:
	for _, line := range lines {
		if line.Gap {
			continue
		}
		for _, noise := range NotCompared {
			if noise.Pattern.MatchString(line.Text) {
				continue next
			}
		}
		// Of a component's command line only the name: its flags are checked by what it does.
		if groups := componentLine.FindStringSubmatch(line.Text); groups != nil {
			line.Text, line.Cut = groups[1], false
		}
		out = append(out, line)
	}
	return out
}

var grave = regexp.MustCompile(`level=(?:fatal|panic)|^panic: `)

// log wants every recorded line to be among those found, in any order and however often, and no fatal line among those
// written meanwhile that was not recorded.
func (s *streams) log(what, recorded, got, meanwhile string) ([]pair, []Difference) {
	wanted, found := compared(s.recorded.lines(recorded)), compared(s.got.lines(got))
	var pairs []pair
	var missing []string
	used := make([]bool, len(found))
	for _, w := range wanted {
		at := -1
		for j, f := range found {
			if w.matches(f) && (at < 0 || !used[j]) {
				at = j
				if !used[j] {
					break
				}
			}
		}
		if at < 0 {
			missing = append(missing, record.Short(w.Text, 400))
			continue
		}
		used[at] = true
		pairs = append(pairs, pair{w, found[at]})
	}
	var differences []Difference
	if len(missing) > 0 {
		differences = append(differences, Difference{what, strings.Join(missing, "\n"), "(no such line)"})
	}
	for _, f := range compared(s.got.lines(meanwhile)) {
		if !grave.MatchString(f.Text) || anyMatches(wanted, f) {
			continue
		}
		differences = append(differences, Difference{what, "(no such line)", record.Short(f.Text, 400)})
	}
	return pairs, differences
}

func anyMatches(wanted []Line, f Line) bool {
	for _, w := range wanted {
		if w.matches(f) {
			return true
		}
	}
	return false
}

// Missing says whether lines of the recorded journal are not among those found yet: whoever looks at a journal waits a
// little for what is written after a command has returned.
func Missing(c *record.Case, journal []string, place Place) bool {
	s := newStreams(c, place)
	_, differences := s.log("journal", own(c, strings.Join(c.Journal, "\n")), strings.Join(journal, "\n"), "")
	return len(differences) > 0
}
