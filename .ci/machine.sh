# Sourced by the scripts beside it: what this machine can carry, and what a lab left on it. Nothing here installs anything.
# shellcheck shell=bash

# Where the demo is; tests have theirs elsewhere.
demo=${demo:-target/demo}

# The folder of all labs: where this clone's demo has its nodes, as long as there are any; else as `hmco-boot lab` has it.
labs() {
  if [ -s "$demo/labs" ]; then
    cat "$demo/labs"
  else
    realpath -m "${HMCO_BOOT_LAB_DIR:-/var/lib/hmco-boot-lab}"
  fi
}

# demo_is_ours: there are no nodes of a demo, or they are this clone's.
demo_is_ours() {
  local record theirs
  record=$(labs)/demo/lab.toml
  [ -e "$record" ] || return 0
  theirs=$(sed -n 's/^inventory = "\(.*\)"$/\1/p' "$record")
  [ "$theirs" != "$(realpath -m "$demo")/homelab/inventory/demo.toml" ] || return 0
  say "error: the nodes of the lab \`demo\` in $(labs) are not this clone's: their inventory is ${theirs:-nowhere}"
  say "hint: make demo-clean in the clone that it is below; where that is gone: hmco-boot lab --name demo down"
  return 1
}

# enough_memory MIB
enough_memory() {
  local have
  have=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
  [ "$have" -ge "$1" ] && return
  say "error: free memory: $have MiB, and the demo takes $1 MiB"
  say "hint: end something that uses memory (ps --sort=-rss aux), or give this machine more"
  return 1
}

# enough_room [FOLDER MIB]...: free space for all of them, counted together where they are on one file system.
enough_room() {
  local folder
  while [ $# -gt 0 ]; do
    folder=$1
    until [ -d "$folder" ]; do folder=$(dirname "$folder"); done
    printf '%s\t%s\t%s\n' "$(df -Pm "$folder" | awk 'NR == 2 { print $4 "\t" $6 }')" "$2" "$1"
    shift 2
  done | awk -F '\t' '
    { have[$2] = $1; need[$2] += $3; what[$2] = what[$2] (what[$2] ? ", " : "") $4 " (" $3 ")" }
    END {
      for (at in have) if (have[at] < need[at]) {
        printf "error: free space on %s: %d MiB, and the demo takes %d MiB there: %s\n", at, have[at], need[at], what[at]
        printf "hint: make room on %s, or move the folder: the clone, HMCO_BOOT_LAB_DIR=DIR for the nodes, HOME=DIR for caches\n", at
        short = 1
      }
      exit short
    }' >&2
}

# nodes_can_run: systemd-nspawn can run a node here; found out in a second, before anything is built.
nodes_can_run() {
  local said
  # A process of its own: in a condition the shell would go on after a step that failed.
  said=$(.ci/try-node "$(labs)" 2>&1) && return
  say "error: systemd-nspawn cannot run a node on this machine:"
  printf '%s\n' "$said" | tail -n 5 | sed 's/^/  | /' >&2
  say "hint: take a machine of its own, or a virtual one; a container needs all rights (docker run --privileged --cgroupns=host)"
  say "hint: where it is the overlay that fails: HMCO_BOOT_LAB_DIR=DIR, with a folder on ext4, xfs or btrfs"
  return 1
}

# left_of_lab NAME: names everything of it that is on this machine.
left_of_lab() {
  local folder tag path
  folder=$(labs)/$1
  # Tag::of in src/lab/names.rs
  tag=hm-$(printf '%s' "$folder" | sha256sum | cut -c 1-6)
  [ ! -e "$folder" ] || echo "$folder"
  awk -v below="$folder/" 'index($5, below) == 1 { print "mount " $5 }' /proc/self/mountinfo
  for path in "/sys/class/net/$tag" "/sys/class/net/vb-$tag-"*; do
    [ ! -e "$path" ] || echo "link ${path##*/}"
  done
  find /sys/fs/cgroup -maxdepth 2 -type d -name "hmco-lab-$tag" -printf 'control group %p\n' 2>/dev/null || true
}
