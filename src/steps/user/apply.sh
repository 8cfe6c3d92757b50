# VERB NAME ARGUMENT...
verb=$1 name=$2
shift 2
if [ -n "$R" ]; then set -- --prefix "$R" "$@"; fi
# Whoever is logged in to do this must be able to come back.
is_login() {
  if [ "${SUDO_USER-}" = "$name" ]; then return 0; fi
  u=
  { read -r u < /proc/self/loginuid; } 2>/dev/null || true
  case $u in '' | 0 | 4294967295) return 1 ;; esac
  [ "$(id -u -- "$name" 2>/dev/null)" = "$u" ]
}
keep_login() {
  if is_login; then say "$name is the login that hmco-boot uses here: $1"; exit 1; fi
}
# Done already, where this is the second time: what it came to is looked at by whoever asked for it.
there() { grep -q "^$name:" "$R/etc/passwd"; }
# sshd refuses a user whose shell is not there, while useradd and usermod only warn. Of the arguments.
check_shell() {
  while [ $# -gt 1 ]; do
    if [ "$1" = --shell ] && ! { [ -f "$R$2" ] && [ -x "$R$2" ]; }; then
      say "the shell $2 is not installed: $name could not log in with it"
      say "install it in a step before this one, or take \`shell\` out"
      exit 1
    fi
    shift
  done
}
# userdel goes down into whatever is mounted there.
check_mounts() {
  home=$(sed -n "/^$name:/{s/^[^:]*:[^:]*:[^:]*:[^:]*:[^:]*:\([^:]*\).*/\1/p;q;}" "$R/etc/passwd")
  if [ -z "$home" ] || [ ! -d "$R$home" ]; then return 0; fi
  real=$(cd -P -- "$R$home/" && pwd -P)
  # Some shells say // for the root folder.
  real=${real#/} real=/${real#/}
  while read -r _ _ _ _ at _; do
    case $at in *\\*) at=$(printf '%b' "$at") ;; esac
    case $at in
      "$real" | "${real%/}"/*)
        say "$at is mounted in the home of $name: nothing is removed"
        say "unmount it in a step before this one, or keep the home (\`remove_home = false\`)"
        exit 1
        ;;
    esac
  done < /proc/self/mountinfo
}
case $verb in
  add)
    if there; then exit 0; fi
    check_shell "$@"
    # A system user gets no login; others a shell that is there.
    case " $* " in
      *" --shell "*) ;;
      *" --system "*) set -- --shell /usr/sbin/nologin "$@" ;;
      *) if [ -x "$R/bin/bash" ]; then set -- --shell /bin/bash "$@"; else set -- --shell /bin/sh "$@"; fi ;;
    esac
    exec useradd "$@" "$name"
    ;;
  change)
    check_shell "$@"
    case " $* " in *" --shell "*nologin* | *" --shell "*/false*) keep_login "it keeps its shell" ;; esac
    case " $* " in *" --home "*) keep_login "its home, and with it its keys, stay where they are" ;; esac
    case " $* " in *" --groups "*) set -- --append "$@" ;; esac
    exec usermod "$@" "$name"
    ;;
  remove)
    if ! there; then exit 0; fi
    keep_login "it is not removed"
    case " $* " in *" remove-home "*) check_mounts; home=--remove ;; *) home= ;; esac
    # shellcheck disable=SC2086
    if [ -n "$R" ]; then exec userdel --prefix "$R" $home "$name"; else exec userdel $home "$name"; fi
    ;;
esac
