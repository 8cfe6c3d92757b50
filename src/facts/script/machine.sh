# What the kernel and the distribution say of themselves.
# Memory page, from the first mapping of this process: no tool needed.
page_size() {
x=
while read -r a b c; do case $a in KernelPageSize:) x=$b; break;; esac; done </proc/self/smaps
begin page
[ -n "$x" ] && printf '%s\n' "$((x*1024))"
end 0
[ -n "$x" ] || framed getconf "$L" getconf PAGESIZE
}
# Kernels that could be booted.
kernels() {
for d in "$R"/lib/modules/*/modules.dep; do
[ -f "$d" ] || continue
d=${d%/modules.dep}
printf '%s\n' "${d##*/}"
done
}
# Who runs this, and whether sudo asks.
who() {
x=
while read -r a b c d; do case $a in Uid:) x=$c; break;; esac; done </proc/self/status
begin who
printf '%s\n' "$x"
if has sudo; then echo sudo; fi
end 0
if [ "$x" != 0 ] && has sudo; then framed sudo "$L" sudo -n true; fi
}
# What a part of the kernel that has no folder in /sys/module (built in, without parameters) shows of itself.
shows() {
case $1 in br_netfilter) [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; return;; esac
while read -r a b; do [ "${b:-$a}" = "$1" ] && return 0; done </proc/filesystems
return 1
}
# Present = loaded or built in; the rest is asked of modprobe.
modules() {
read -r v </proc/sys/kernel/osrelease
for n; do
if [ -d "/sys/module/$n" ]; then
if [ -e "/sys/module/$n/initstate" ]; then echo "loaded $n"; else echo "builtin $n"; fi
elif shows "$n"; then echo "builtin $n"
else
o=$(modprobe -D -q "$n") || { echo "absent $n"; continue; }
case $o in builtin*) echo "builtin $n";; *) echo "available $n";; esac
fi
done
}
# Locks of files, with the names of the processes that hold them.
locks() {
has apt-get && echo apt
for p in "$R"/var/lib/dpkg/updates/[0-9]*; do [ -e "$p" ] && { echo interrupted; break; }; done
while read -r a; do
set -- $a
x=
read -r x <"/proc/$5/comm"
printf 'lock %s %s %s\n' "$5" "$6" "$x"
done </proc/locks
}
links() {
begin links
for d in /sys/class/net/*; do
[ -e "$d/address" ] || continue
a= b= c=
read -r a <"$d/address"
read -r b <"$d/mtu"
read -r c <"$d/operstate"
printf '%s %s %s %s\n' "${d##*/}" "${b:-0}" "${c:-unknown}" "$a"
done
end 0
}
# Swap units that swap.target pulls in. A masked one is a link to /dev/null, or an empty file.
swap_units() {
m="$R/etc/systemd/system"
for d in "$m" "$R"/run/systemd/generator* "$R/run/systemd/system" "$R/usr/local/lib/systemd/system" "$R/usr/lib/systemd/system" "$R/lib/systemd/system"; do
for p in "$d"/swap.target.wants/*.swap "$d"/swap.target.requires/*.swap; do
[ -e "$p" ] || [ -L "$p" ] || continue
p=${p##*/}
if [ -e "$m/$p" ] && [ ! -s "$m/$p" ]; then printf 'masked %s\n' "$p"; else printf 'unit %s\n' "$p"; fi
done
done
}
# Files of kernel parameters: the paths of all, then their lines that say something.
sysctl_files() {
set --
for p in "$R"/etc/sysctl.d/*.conf "$R"/run/sysctl.d/*.conf "$R"/usr/local/lib/sysctl.d/*.conf "$R"/usr/lib/sysctl.d/*.conf "$R"/lib/sysctl.d/*.conf "$R/etc/sysctl.conf"; do
[ -e "$p" ] || [ -L "$p" ] || continue
printf '%s;file %s\n' "$D" "$p"
[ -f "$p" ] && set -- "$@" "$p"
done
[ "$#" = 0 ] || grep -aH '^[^#;]' "$@"
}
# For each path: the folder that holds it or would hold it, by its real path; then the file systems of all.
disks() {
begin disk-path
n=$#
while [ "$n" -gt 0 ]; do
n=$((n-1)) p=$1
shift
while [ ! -d "$p" ] && [ -n "$p" ]; do p=${p%/*}; done
if p=$(cd -P "${p:-/}" && pwd -P); then set -- "$@" "$p"; else p=; fi
printf '%s;%s\n' "$D" "$p"
done
end 0
begin disk
[ "$#" -gt 0 ] && stat -f -c "$D;%n$N%S %b %a %c %d$N$D." "$@" 2>&1
end "$?"
}
# Lines of a unit's present start: INDEX UNIT LINES.
log() {
i=$(systemctl show --no-pager --value -p InvocationID -- "$2")
begin "log $1"
if [ -n "$i" ]; then set -- "$1" "$2" "$3" "_SYSTEMD_INVOCATION_ID=$i" + "INVOCATION_ID=$i"
else set -- "$1" "$2" "$3" -b -u "$2"; fi
n=$3
shift 3
journalctl --no-pager -q -o cat -n "$n" "$@" 2>&1 | tail -c 1048576
end 0
}
