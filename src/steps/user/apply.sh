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
case $verb in
  add)
    if there; then exit 0; fi
    # A system user gets no login; others a shell that is there.
    case " $* " in
      *" --shell "*) ;;
      *" --system "*) set -- --shell /usr/sbin/nologin "$@" ;;
      *) if [ -x "$R/bin/bash" ]; then set -- --shell /bin/bash "$@"; else set -- --shell /bin/sh "$@"; fi ;;
    esac
    exec useradd "$@" "$name"
    ;;
  change)
    case " $* " in *" --shell "*nologin* | *" --shell "*/false*) keep_login "it keeps its shell" ;; esac
    case " $* " in *" --home "*) keep_login "its home, and with it its keys, stay where they are" ;; esac
    case " $* " in *" --groups "*) set -- --append "$@" ;; esac
    exec usermod "$@" "$name"
    ;;
  remove)
    if ! there; then exit 0; fi
    keep_login "it is not removed"
    case " $* " in *" remove-home "*) home=--remove ;; *) home= ;; esac
    # shellcheck disable=SC2086
    if [ -n "$R" ]; then exec userdel --prefix "$R" $home "$name"; else exec userdel $home "$name"; fi
    ;;
esac
