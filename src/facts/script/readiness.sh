# What K3s trips over and no other fact tells, one record a line. Nothing here may load a kernel module: netfilter is
# asked only where it is in use already.
tell() { printf '%s;%s\n' "$D" "$*"; }
readiness() {
begin readiness
x=
read -r x </sys/class/dmi/id/product_uuid
[ -n "$x" ] && tell uuid "$x"
while read -r a b c d; do case $a in /*) tell swap "$c $a";; esac; done </proc/swaps
if has iptables; then x=$(iptables --version 2>&1) && tell iptables "${x%%"$N"*}"; fi
if has vcgencmd; then tell throttled "$(vcgencmd get_throttled)"; fi
x=
read -r x </sys/module/apparmor/parameters/enabled
[ "$x" = Y ] && tell apparmor
has apparmor_parser && tell apparmor-parser
while read -r x; do case $x in ENABLED=yes*|ENABLED=\"yes*) tell ufw;; esac; done <"$R/etc/ufw/ufw.conf"
if [ -d /sys/module/nf_tables ] && has nft; then
nft list chains | grep -q 'hook input.*policy drop' && tell input-dropped
fi
x=
while read -r x; do [ "$x" = filter ] && break; done </proc/net/ip_tables_names
if [ "$x" = filter ] && has iptables-legacy; then
iptables-legacy -S INPUT | grep -q '^-P INPUT DROP' && tell input-dropped
fi
for p in "$R"/etc/NetworkManager/NetworkManager.conf "$R"/etc/NetworkManager/conf.d/*.conf; do
[ -f "$p" ] && grep -Eq '^ *unmanaged-devices *=.*(cni|flannel)' "$p" && { tell cni-unmanaged; break; }
done
for d in /sys/block/mmcblk[0-9]*; do
x=
[ -e "$d/device/type" ] && read -r x <"$d/device/type" && tell card "${d##*/} $x"
done
has ss && ss -Hltunp | while read -r x; do case $x in *users:*) tell socket "$x";; esac; done
end 0
}
