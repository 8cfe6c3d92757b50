# What K3s left running when its units stop: containers, mounts, links of its network. Data stay. Only what is K3s' own: its
# control groups, shims of its containerd, mounts below its folders, links with its names.
tell() { printf '%s\n' "$*"; }
# Processes of K3s' units, and shims of its containerd (whatever control group they are in).
k3s_seeds() {
  for d in /proc/[0-9]*; do
    [ "${d#/proc/}" != "$$" ] || continue
    if grep -qE '/k3s(-agent)?\.service(/|$)' "$d/cgroup" 2>/dev/null; then
      tell "${d#/proc/}"
      continue
    fi
    case $(tr '\000' ' ' 2>/dev/null <"$d/cmdline") in
      *containerd-shim*' -address /run/k3s/containerd/containerd.sock'*) tell "${d#/proc/}" ;;
    esac
  done
}
# The same, with all that they started.
k3s_processes() {
  s=$(k3s_seeds | tr '\n' ' ')
  [ -n "$s" ] || return 0
  cat /proc/[0-9]*/stat 2>/dev/null | awk -v seeds="$s" -v self="$$" '
    { pid = $1; rest = $0; sub(/.*\) . /, "", rest); split(rest, f, " "); parent[pid] = f[1] }
    END {
      n = split(seeds, s, " "); for (i = 1; i <= n; i++) mine[s[i]] = 1
      do { more = 0; for (p in parent) if (!(p in mine) && (parent[p] in mine)) { mine[p] = 1; more = 1 } } while (more)
      for (p in mine) if (p != self) print p
    }'
}
# A folder without links on the way to it, as the table of mounts names it.
real() { (cd -P -- "$1" 2>/dev/null && pwd -P) || tell "$1"; }
# The mount point in `point` as it is; the table writes blanks as \040.
plain() {
  case $point in *\\*) point=$(printf '%b' "$(printf '%s' "$point" | sed 's/\\\([0-7][0-7][0-7]\)/\\0\1/g')") ;; esac
}
# Mount points of K3s, the deepest first. A disk that somebody mounted below its folders is not one of them.
k3s_mounts() {
  state=$(real /run/k3s) data=$(real /var/lib/rancher/k3s)
  pods=$(real /var/lib/kubelet/pods) plugins=$(real /var/lib/kubelet/plugins)
  while read -r source point type rest; do
    plain
    case $point in
      "$state"/* | "$pods"/* | "$plugins"/* | /run/netns/cni-*) ;;
      "$data"/*) case $source:$type in /dev/*) continue ;; *:nfs* | *:cifs) continue ;; esac ;;
      *) continue ;;
    esac
    tell "$point"
  done </proc/self/mounts | sort -r
}
# What is still mounted strictly below a folder.
mounted_below() {
  at=$(real "$1")
  while read -r source point rest; do
    plain
    case $point in "$at"/*) tell "$point"; break ;; esac
  done </proc/self/mounts
}
# Removes a folder with all that is in it on its own disk.
erase() {
  [ -e "$1" ] || [ -L "$1" ] || return 0
  if rm --help 2>&1 | grep -q one-file-system; then
    ! rm -rf --one-file-system -- "$1" 2>/dev/null || return 0
  else
    # With -depth busybox' find goes to other disks all the same.
    ! { find "$1" -xdev ! -type d -exec rm -f -- {} + && find "$1" -xdev -type d -print0 | sort -rz | xargs -0 rmdir --; } \
      2>/dev/null || return 0
  fi
  # A subvolume of btrfs, which containerd may make for each image, looks like another disk, and is none.
  still=$(mounted_below "$1")
  [ -z "$still" ] || { tell "not removed: $still is mounted there by somebody else" >&2; return 1; }
  rm -rf -- "$1"
}
k3s_links() {
  command -v ip >/dev/null 2>&1 || return 0
  ip -o link show master cni0 2>/dev/null | sed -n 's/^[0-9]*: \([^:@]*\)[:@].*/\1/p' | while read -r link; do
    ip link delete "$link" 2>/dev/null || :
  done
  for link in cni0 flannel.1 flannel-v6.1 flannel-wg flannel-wg-v6 kube-ipvs0; do
    ip link delete "$link" 2>/dev/null || :
  done
  for space in /run/netns/cni-*; do
    [ -e "$space" ] || continue
    ip netns delete "${space##*/}" 2>/dev/null || :
  done
}
# Rules of Kubernetes, its network and its plugins; those of others are put back as they are.
k3s_rules() {
  for tables in iptables ip6tables; do
    command -v "$tables-save" >/dev/null 2>&1 || continue
    "$tables-save" 2>/dev/null | grep -qE 'KUBE-|CNI-|[Ff]lannel|FLANNEL' || continue
    "$tables-save" | grep -vE 'KUBE-|CNI-|[Ff]lannel|FLANNEL' | "$tables-restore"
  done
}
k3s_killall() {
  for unit in k3s.service k3s-agent.service; do
    case $(systemctl is-active "$unit" 2>/dev/null) in
      inactive | failed | unknown | '') ;;
      *) tell "stopping $unit"; systemctl stop "$unit" ;;
    esac
  done
  for round in 1 2 3 4 5; do
    left=$(k3s_processes)
    [ -n "$left" ] || break
    for process in $left; do kill -9 "$process" 2>/dev/null || :; done
    sleep 1
  done
  left=$(k3s_processes | tr '\n' ' ')
  [ -z "$left" ] || { tell "processes of K3s do not end: $left" >&2; return 1; }
  k3s_mounts | while read -r point; do
    umount "$point" 2>/dev/null || umount -l "$point" 2>/dev/null || tell "still mounted: $point" >&2
  done
  k3s_links
  k3s_rules
  erase /var/lib/cni
}
