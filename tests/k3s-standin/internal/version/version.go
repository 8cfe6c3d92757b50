// Package version holds what the program says about itself. The values are replaced at link time, so that a second
// version for upgrade tests is only a relink.
package version

// Version is K3s' version, as `k3s --version` prints it and as nodes report it.
var Version = "v1.32.2+k3s1"

// Commit is the short commit printed behind the version.
var Commit = "381620ef"

// Etcd is the version of etcd that the log lines name.
const Etcd = "3.5.18"

// UpstreamGolang is what `k3s --version` prints as the compiler's version when not empty.
var UpstreamGolang = ""
