# K3s' files. A folder that may not be looked into must never pass for one that is not there.
shut() {
for q; do
if [ -d "$q" ]; then [ -r "$q" ] && [ -x "$q" ] || return 0
elif ! enterable "$q"; then return 0; fi
done
return 1
}
k3s_install() {
begin k3s-install
s=0
e="$R/etc/rancher/k3s"
shut "$e" "$e/config.yaml.d" "$R/etc/systemd/system" "$R/etc/default" && s=denied
for n in k3s.service k3s-agent.service; do
[ -f "$R/etc/systemd/system/$n" ] && printf '%s;unit %s\n' "$D" "$n"
done
# Named by INSTALL_K3S_NAME; not those that run other commands of K3s, as a timer's service does.
for p in "$R"/etc/systemd/system/k3s-*.service "$R"/usr/local/lib/systemd/system/k3s-*.service "$R"/usr/lib/systemd/system/k3s-*.service "$R"/lib/systemd/system/k3s-*.service; do
case $p in */k3s-agent.service) continue;; esac
[ -f "$p" ] && runs_k3s "$p" && printf '%s;unit %s\n' "$D" "${p##*/}"
done
for p in "$e/config.yaml" "$e"/config.yaml.d/.* "$e"/config.yaml.d/* "$R"/etc/systemd/system/k3s*.service.env "$R"/etc/default/k3s*; do
# What K3s reads of that folder, hidden or not (k3s-io/k3s pkg/configfilearg).
case $p in "$e"/config.yaml.d/*) case $p in *.[yY][aA][mM][lL]|*.[yY][mM][lL]) ;; *) continue;; esac;; esac
[ -f "$p" ] && printf '%s;config %s\n' "$D" "${p#"$R"}"
done
b=
for p in $K; do
[ -f "$R$p" ] && { b=$p; break; }
done
if [ -n "$b" ]; then
printf '%s;binary %s\n' "$D" "$b"
i=$(stat -L -c '%d:%i:%s:%y:%z' "$R$b")
printf '%s;identity %s\n' "$D" "$i"
h=
k3s_known "$R$b" "$i"
if [ -n "$h" ]; then printf '%s;version %s\n' "$D" "$h"
elif [ -x "$R$b" ]; then
v=$("$R$b" --version)
printf '%s;version %s\n' "$D" "${v%%"$N"*}"
fi
fi
end "$s"
}
k3s_data() {
begin k3s-data
s=0
k="$R/var/lib/rancher/k3s"
d="$k/server/db"
shut "$k" "$k/server" "$d" "$d/etcd" "$k/agent" && s=denied
[ -d "$d/etcd/member" ] && printf '%s;etcd\n' "$D"
[ -f "$d/state.db" ] && printf '%s;sqlite\n' "$D"
[ -f "$k/agent/client-kubelet.crt" ] && printf '%s;agent\n' "$D"
[ -e "$k/server/token" ] && printf '%s;started\n' "$D"
[ -f "$d/reset-flag" ] && printf '%s;reset\n' "$D"
for p in "$d"/* "$d"/.[!.]*; do
[ -e "$p" ] || [ -L "$p" ] || continue
case ${p##*/} in etcd|state.db|state.db-*|reset-flag) ;; *) printf '%s;old %s\n' "$D" "${p##*/}";; esac
done
end "$s"
}
