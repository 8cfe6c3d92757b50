# Sourced by .ci/demo: which K3s its nodes get, and the release where that is asked for. $clone: the folder of this clone.
# shellcheck shell=bash

# A demo's own cache; see HOME in .ci/demo.
k3s_cache=$clone/target/demo/home/.cache/hmco-boot/sha256

# pinned KEY: what hmco-boot.lock of the demo (of new projects, before there is a demo) says of K3s for this machine.
pinned() {
  local arch=amd64 lock=$clone/target/demo/homelab/hmco-boot.lock
  if [ "$(uname -m)" = aarch64 ]; then arch=arm64; fi
  [ -f "$lock" ] || lock=$clone/src/cli/init/hmco-boot.lock
  awk -v RS= -v arch="arch = \"$arch\"" '/name = "k3s"/ && index($0, arch)' "$lock" | sed -n "s/^$1 = \"\(.*\)\"\$/\1/p"
}

# version_of FILE: also whether its pods are real. Nothing where it is no K3s: `lab up` says so.
version_of() {
  local said
  said=$("$1" --version 2>/dev/null | awk 'NR == 1 { print $3 }') || return 0
  if grep -q -F hmco-boot/simulated "$1"; then said="$said (simulated)"; fi
  echo "$said"
}

# same_k3s KIND: a node on which one K3s has been run takes no other, so a demo has one K3s from its beginning to its end.
# What is known of KIND too early is only whether it is simulated.
same_k3s() {
  local noted=$clone/target/demo/k3s was
  { [ -f "$noted" ] && [ -n "$1" ]; } || return 0
  was=$(cat "$noted")
  case $was in "$1" | *" $1") return 0 ;; esac
  say "error: the demo's nodes have K3s $was, and this call is for ${1/#(simulated)/the stand-in}"
  say "hint: go on with that one (K3S=PATH, K3S=release, or without K3S the stand-in), or begin anew: make demo-clean"
  exit 1
}

no_release() {
  say "error: the K3s release $(pinned version) cannot be had: $1"
  say "hint: go without K3S=release: the stand-in; or fetch its file elsewhere and name it: K3S=PATH"
  exit 1
}

# release_is_near: it has been fetched, or what it comes from takes connections; found out in seconds, before anything is built.
release_is_near() {
  local digest from scheme
  digest=$(pinned sha256)
  if [ -n "$digest" ] && { [ -f "$k3s_cache/$digest" ] || [ -n "${HMCO_MIRROR:-}" ]; }; then return 0; fi
  from=${HTTPS_PROXY:-${https_proxy:-${ALL_PROXY:-${all_proxy:-$(pinned url)}}}}
  scheme=${from%%://*}
  from=${from#*://}
  from=${from%%/*}
  from=${from##*@}
  case $from in
  *:*) ;;
  *) if [ "$scheme" = https ]; then from=$from:443; else from=$from:80; fi ;;
  esac
  # shellcheck disable=SC2016 # the inner shell's own words
  timeout 5 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "${from%:*}" "${from##*:}" 2>/dev/null ||
    no_release "nothing answers at $from"
}

# pin_release: in the project that is the current folder.
pin_release() {
  local digest
  # Nodes of a lab have no way out: it is sent to them.
  grep -q '^fetch = ' hmco-boot.lock || sed -i '/^name = "k3s"$/a fetch = "controller"' hmco-boot.lock
  digest=$(pinned sha256)
  if [ -n "$digest" ] && hmco-boot pins list --output json | grep -F "\"$digest\"" | grep -q -v '"at_hand":null'; then
    return 0
  fi
  show hmco-boot pins update k3s --yes || no_release 'see above'
}

# nodes_take_release: a lab that was there before keeps the file it was given.
nodes_take_release() {
  if grep -q '^name = "k3s"$' inventory/demo.toml; then
    say "error: the demo's nodes were made for another K3s: $(sed -n 's/^url = "file:\/\/\(.*\)"$/\1/p' inventory/demo.toml)"
    say "hint: begin anew: make demo-clean"
    exit 1
  fi
}
