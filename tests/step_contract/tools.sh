#!/bin/sh
# Stands in for tools that change a whole machine, for a sandbox folder ROOT: by its name, as far as the kinds ask.
root='ROOT'
status=$root/var/lib/dpkg/status
# Records of dpkg: without the package $1.
without() {
  awk -v n="$1" 'BEGIN { RS = ""; ORS = "\n\n" } $0 !~ "^Package: " n "\n"' "$status" > "$status.new"
}
put() {
  without "${1%%=*}"
  case $1 in *=*) v=${1#*=} ;; *) v=1.0 ;; esac
  printf 'Package: %s\nStatus: install ok installed\nVersion: %s\n\n' "${1%%=*}" "$v" >> "$status.new"
  mv "$status.new" "$status"
}
case ${0##*/} in
  apt-get)
    verb=
    while [ $# -gt 0 ]; do
      case $1 in
        -o) shift 2; continue ;;
        -*) ;;
        *) if [ -z "$verb" ]; then verb=$1; elif [ "$verb" = install ]; then put "$1"; else without "$1"; mv "$status.new" "$status"; fi ;;
      esac
      shift
    done
    ;;
  apt-cache | dpkg-query) ;;
  dpkg)
    case " $* " in
      *" --configure "*)
        rm -f "$root"/var/lib/dpkg/updates/*
        sed -i 's/install ok unpacked/install ok installed/' "$status"
        ;;
    esac
    ;;
  modprobe)
    case $1 in -a) shift; for m; do mkdir -p "$root/sys/module/$m"; done ;; -r) shift; for m; do rm -rf "$root/sys/module/$m"; done ;; *) exit 1 ;; esac
    ;;
  mount)
    case $4 in
      remount,*) ;;
      *) printf '9 1 0:9 / %s %s - %s %s rw\n' "${6#"$root"}" "rw,$4" "$2" "$5" >> "$root/proc/self/mountinfo" ;;
    esac
    ;;
  umount)
    awk -v p="${1#"$root"}" '$5 != p' "$root/proc/self/mountinfo" > "$root/mountinfo.new"
    mv "$root/mountinfo.new" "$root/proc/self/mountinfo"
    ;;
  swapoff) printf 'Filename Type Size Used Priority\n' > "$root/proc/swaps" ;;
  useradd)
    name= shell= home= groups= uid=2000
    while [ $# -gt 0 ]; do
      case $1 in
        --prefix) shift 2; continue ;;
        --shell) shell=$2; shift 2; continue ;;
        --home) home=$2; shift 2; continue ;;
        --uid) uid=$2; shift 2; continue ;;
        --groups) groups=$2; shift 2; continue ;;
        -*) ;;
        *) name=$1 ;;
      esac
      shift
    done
    printf '%s:x:%s:%s::%s:%s\n' "$name" "$uid" "$uid" "${home:-/home/$name}" "$shell" >> "$root/etc/passwd"
    printf '%s:x:%s:\n' "$name" "$uid" >> "$root/etc/group"
    sed -i "s/^\(${groups:-none}:.*\)\$/\1,$name/" "$root/etc/group"
    ;;
  usermod)
    name= shell= groups=
    while [ $# -gt 0 ]; do
      case $1 in
        --prefix) shift 2; continue ;;
        --shell) shell=$2; shift 2; continue ;;
        --groups) groups=$2; shift 2; continue ;;
        -*) ;;
        *) name=$1 ;;
      esac
      shift
    done
    [ -z "$shell" ] || sed -i "s#^\($name:.*:\)[^:]*\$#\1$shell#" "$root/etc/passwd"
    [ -z "$groups" ] || sed -i "s/^\($groups:.*\)\$/\1,$name/" "$root/etc/group"
    ;;
  userdel)
    for name; do :; done
    sed -i "/^$name:/d" "$root/etc/passwd" "$root/etc/group"
    ;;
esac
exit 0
