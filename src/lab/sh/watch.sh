# Runs a node and starts it again when it reboots. $LAB_CGROUPS: the node's control group in each hierarchy; $LAB_LINK:
# the host's end of its link; the arguments are the command. systemd-nspawn ends with 133 when the machine in it asked
# for a reboot.
set -u
for group in $LAB_CGROUPS; do
  echo $$ >"$group/watch/cgroup.procs" || exit 97
done
while :; do
  for group in $LAB_CGROUPS; do
    # A machine that starts finds no control groups of its life before.
    find "$group/node" -mindepth 1 -depth -type d -exec rmdir {} \; 2>/dev/null
  done
  # The kernel takes a dead machine's link away a moment later; a new one could not have its name.
  looks=0
  while [ -e "/sys/class/net/$LAB_LINK" ] && [ "$looks" -lt 200 ]; do
    looks=$((looks + 1))
    sleep 0.05
  done
  sh -c 'for group in $LAB_CGROUPS; do echo $$ >"$group/node/cgroup.procs" || exit 97; done
    unset LAB_CGROUPS LAB_LINK
    exec "$@"' sh "$@"
  status=$?
  [ "$status" = 133 ] || exit "$status"
done
