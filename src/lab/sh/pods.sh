#!/bin/sh
# On cgroup v1, after early.sh: the group below which a real K3s is told to put its pods (src/lab/inventory.rs).
set -u
[ ! -e /sys/fs/cgroup/cgroup.controllers ] || exit 0
for folder in /sys/fs/cgroup/*; do
  if [ -d "$folder" ] && [ ! -L "$folder" ]; then mkdir -p "$folder/lab"; fi
done
# A cpuset takes no process before it has these.
cpuset=/sys/fs/cgroup/cpuset
if [ -e "$cpuset/lab/cpuset.cpus" ]; then
  for file in cpuset.cpus cpuset.mems; do cat "$cpuset/$file" >"$cpuset/lab/$file"; done
fi
