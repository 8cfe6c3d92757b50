# K3s and its data, away. Comes after killall.sh. What is mounted below its folders by somebody else is never emptied: then
# nothing is removed.
# What is still mounted strictly below a folder.
mounted_below() {
  at=$(real "$1")
  while read -r source point rest; do
    plain
    case $point in "$at"/*) tell "$point"; break ;; esac
  done </proc/self/mounts
}
# All in a folder that stays. Into one place first, so that half of it never passes for a datastore.
empty() {
  erase "$1/.removed"
  mkdir "$1/.removed"
  find "$1" -mindepth 1 -maxdepth 1 ! -name .removed ! -name lost+found -exec mv {} "$1/.removed/" \;
  erase "$1/.removed"
  left=$(find "$1" -mindepth 1 -maxdepth 1 ! -name lost+found)
  [ -z "$left" ] || { tell "not removed: $left" >&2; return 1; }
}
# A folder and all in it, under another name first for the same reason.
away() {
  # A mount point cannot have another name.
  if [ -d "$1" ] && ! mv "$1" "$1.removed" 2>/dev/null; then empty "$1"; fi
  erase "$1.removed"
}
k3s_uninstall() {
  k3s_killall
  for folder in /var/lib/rancher/k3s /var/lib/kubelet /etc/rancher/k3s /etc/rancher/node /run/k3s /run/flannel; do
    still=$(mounted_below "$folder")
    [ -z "$still" ] || { tell "nothing removed: $still is mounted there by somebody else" >&2; return 1; }
  done
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
