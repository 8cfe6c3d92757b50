#!/bin/sh
# Before anything else of a rehearsal node: gives it what a machine of its own has and systemd-nspawn withholds.
set -u
if [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then
  # cgroup v1: each controller, writable, as the node's own (its control group is the root of its namespace).
  mount -o remount,rw /sys/fs/cgroup
  while IFS=: read -r _ controllers _; do
    case $controllers in '' | name=*) continue ;; esac
    folder=/sys/fs/cgroup/$controllers
    if [ ! -L "$folder" ]; then
      umount "$folder" 2>/dev/null
      mkdir -p "$folder"
      mount -t cgroup -o "$controllers" cgroup "$folder" || echo "cannot mount the controllers $controllers" >&2
    fi
    case $controllers in
    *,*)
      rest=$controllers,
      while [ -n "$rest" ]; do
        one=${rest%%,*}
        rest=${rest#*,}
        [ -e "/sys/fs/cgroup/$one" ] || ln -s "$controllers" "/sys/fs/cgroup/$one"
      done
      ;;
    esac
  done </proc/self/cgroup
  # Nobody tells systemd here that a user's manager has come to its end, so stopping one after the last logout takes two
  # minutes, and whoever logs in meanwhile waits for that. It stays instead.
  mkdir -p /run/systemd/logind.conf.d
  printf '[Login]\nUserStopDelaySec=infinity\n' >/run/systemd/logind.conf.d/lab.conf
fi
mount -o remount,rw /proc/sys
mount --make-rshared /
