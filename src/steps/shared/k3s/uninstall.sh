# K3s and its data, away. Comes after killall.sh. What is mounted below its folders by somebody else is never emptied: then
# nothing is removed. A folder that is a link, or a mount point, is its owner's choice of a disk: it stays, empty.
stays() {
  [ ! -L "$1" ] || return 0
  at=$(real "$1")
  while read -r source point rest; do
    plain
    [ "$point" != "$at" ] || return 0
  done </proc/self/mounts
  return 1
}
# What keeps a folder from being taken away.
objection() {
  still=$(mounted_below "$1")
  [ -z "$still" ] || { tell "$still is mounted there by somebody else"; return; }
  [ -d "$1" ] || [ ! -L "$1" ] || tell "$1 is a link to $(readlink "$1"), which is no folder: is its disk mounted?"
}
# Whether the entry $2 of the folder $1 is of K3s or its kubelet.
of_k3s() {
  case $1:$2 in
    /run/*) ;;
    */k3s:agent | */k3s:data | */k3s:server | */k3s:storage) ;;
    */kubelet:pod* | */kubelet:plugins* | */kubelet:*_state | */kubelet:*_manager* | */kubelet:device-plugins) ;;
    */kubelet:checkpoints | */kubelet:pki | */kubelet:seccomp) ;;
    */rancher/k3s:*.yaml | */rancher/k3s:*.yml | */rancher/k3s:config.yaml.d | */rancher/node:id | */rancher/node:password) ;;
    *) return 1 ;;
  esac
}
# Links further down, with data behind them.
linked() {
  for part in server server/cred server/tls server/db server/db/etcd server/db/snapshots agent agent/containerd storage; do
    [ ! -L "/var/lib/rancher/k3s/$part" ] || tell "/var/lib/rancher/k3s/$part"
  done
  [ ! -L /var/lib/kubelet/pods ] || tell /var/lib/kubelet/pods
}
# What is of K3s in a folder that stays: there may be a whole disk behind it. Into one place first, so that half of it never
# passes for a datastore.
empty() {
  erase "$1/.removed"
  mkdir "$1/.removed"
  for entry in "$1"/* "$1"/.[!.]*; do
    [ -e "$entry" ] || [ -L "$entry" ] || continue
    case ${entry##*/} in .removed | lost+found) continue ;; esac
    if of_k3s "$1" "${entry##*/}"; then mv "$entry" "$1/.removed/"; else tell "left, as it is not of K3s: $entry"; fi
  done
  erase "$1/.removed"
}
# A folder and all in it, under another name first for the same reason.
away() {
  if [ ! -d "$1" ]; then :
  elif stays "$1" || ! mv "$1" "$1.removed"; then empty "$1"
  fi
  erase "$1.removed"
}
# Units by which a K3s runs under another name (INSTALL_K3S_NAME): systemd would start it again while its data go.
others() {
  for file in /etc/systemd/system/k3s-*.service; do
    unit=${file##*/}
    [ -f "$file" ] && [ "$unit" != k3s-agent.service ] && runs_k3s "$file" || continue
    case $(systemctl is-active "$unit" 2>/dev/null) in
      inactive | failed | unknown | '') ;;
      *) tell "$unit" ;;
    esac
  done
}
k3s_uninstall() {
  why=$(others | head -n 1)
  [ -z "$why" ] || {
    tell "nothing removed: K3s runs here under another name, $why: take it away by its own script, ${why%.service}-uninstall.sh" >&2
    return 1
  }
  k3s_killall
  for folder in /var/lib/rancher/k3s /var/lib/kubelet /etc/rancher/k3s /etc/rancher/node /run/k3s /run/flannel; do
    why=$(objection "$folder")
    [ -z "$why" ] || { tell "nothing removed: $why" >&2; return 1; }
  done
  why=$(linked | head -n 1)
  [ -z "$why" ] || {
    tell "nothing removed: $why is a link to $(readlink "$why"): take away what is there, and the link" >&2
    return 1
  }
  for unit in k3s.service k3s-agent.service; do
    systemctl disable "$unit" 2>/dev/null || :
    rm -f "/etc/systemd/system/$unit" "/etc/systemd/system/$unit.env"
    rm -rf "/etc/systemd/system/$unit.d" "/run/systemd/system/$unit.d"
    rm -f "/run/hmco-boot/stamp/$unit" "/var/lib/hmco-boot/stamp/$unit" "/run/hmco-boot/k3s/$unit"
  done
  systemctl daemon-reload 2>/dev/null || :
  systemctl reset-failed k3s.service k3s-agent.service 2>/dev/null || :
  away /var/lib/rancher/k3s
  for folder in /etc/rancher/k3s /etc/rancher/node /run/k3s /run/flannel /var/lib/kubelet; do away "$folder"; done
  rmdir /etc/rancher /var/lib/rancher 2>/dev/null || :
  for name in kubectl crictl ctr; do
    case $(readlink "/usr/local/bin/$name" 2>/dev/null) in
      k3s | /usr/local/bin/k3s) rm -f "/usr/local/bin/$name" ;;
    esac
  done
  rm -f /usr/local/bin/k3s /usr/local/bin/k3s-killall.sh /usr/local/bin/k3s-uninstall.sh /usr/local/bin/k3s-agent-uninstall.sh
  tell "K3s and its data are removed"
}
