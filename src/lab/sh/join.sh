# Runs a command inside control groups: $LAB_CGROUPS, one in each hierarchy.
set -u
for group in $LAB_CGROUPS; do
  echo $$ >"$group/cgroup.procs" || exit 97
done
unset LAB_CGROUPS
exec "$@"
