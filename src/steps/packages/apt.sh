# VERB lock=SECONDS update=WHEN age=SECONDS recommends=YES removals=YES downgrades=YES NAME...
# Exits with 100 for what can pass, with 1 for what will be the same next time.
verb=$1 lock=${2#*=} update=${3#*=} age=${4#*=} recommends=${5#*=} removals=${6#*=} downgrades=${7#*=}
shift 7
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true APT_LISTCHANGES_FRONTEND=none
export UCF_FORCE_CONFFOLD=1 NEEDRESTART_SUSPEND=1 DEBIAN_PRIORITY=critical
E=$R/run/hmco-boot-apt.$$ S=$R/run/hmco-boot/apt-updated
mkdir -p "$R/run/hmco-boot"
trap 'rm -f "$E"' EXIT
fail() { say "$2"; exit "$1"; }

# The process that holds one of the locks: to h. By inode only: on an overlay the kernel shows another device number.
holder() {
  h=
  i=" $(stat -c %i "$R/var/lib/dpkg/lock-frontend" "$R/var/lib/dpkg/lock" "$R/var/lib/apt/lists/lock" "$R/var/cache/apt/archives/lock" 2>/dev/null | tr '\n' ' ')"
  while read -r a b c d pid place rest; do
    case $i in *" ${place##*:} "*) ;; *) continue ;; esac
    comm=
    { read -r comm < "/proc/$pid/comm"; } 2>/dev/null || true
    case $comm in apt* | dpkg* | unattended-upgr* | packagekitd | python3*) h="process $pid ($comm)"; return 0 ;; esac
  done < /proc/locks
  return 0
}
await_lock() {
  t=0 told=
  while holder && [ -n "$h" ]; do
    [ "$t" -lt "$lock" ] || fail 100 "$h still holds the package manager's lock after $lock s"
    [ "$h" = "$told" ] || say "waiting for $h, which holds the package manager's lock (at most $lock s)"
    told=$h t=$((t + 1))
    sleep 1
  done
}
# Whether what was just said on standard error can pass.
can_pass() {
  grep -qE 'Could not get lock|Unable to (acquire|lock)|Failed to fetch|Could not (resolve|connect)|Temporary failure resolving|Unable to connect|Connection (timed out|failed|refused|reset)|Hash Sum mismatch|is not valid yet|index files failed' "$E"
}
apt() {
  await_lock
  s=0
  apt-get -q -y -o DPkg::Lock::Timeout=60 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-confdef -o APT::Update::Error-Mode=any "$@" 2> "$E" || s=$?
  cat "$E" >&2
  return "$s"
}
give_up() {
  if grep -q 'is not valid yet' "$E"; then
    say "this machine's clock says $(date -u '+%Y-%m-%d %H:%M') UTC, which is before the repository's: set it, or wait for time synchronisation"
  fi
  if grep -q 'Read-only file system' "$E"; then say "the file system is mounted read-only: look at \`dmesg\` for the reason"; fi
  if grep -q 'No space left\|enough free space' "$E"; then say "no space left: \`apt-get clean\` frees what apt keeps"; fi
  if can_pass; then exit 100; fi
  exit 1
}

# Lists are as old as their last reading by this script in this boot, by uptime: wall clocks of Pis jump.
uptime() { read -r u rest < /proc/uptime; u=${u%%.*}; }
lists_are_fresh() {
  set -- "$R"/var/lib/apt/lists/*_Packages* "$R"/var/lib/apt/lists/*_InRelease
  for f in "$@"; do [ -s "$f" ] && break; done
  [ -s "$f" ] || return 1
  u0=
  { read -r u0 < "$S"; } 2>/dev/null || return 1
  uptime
  [ "$((u - u0))" -lt "$age" ]
}
updated=
read_lists() {
  updated=yes
  say "reading the repositories' lists"
  if apt update; then
    uptime
    printf '%s\n' "$u" > "$S"
  else
    # Old lists may do; what they lack, the installation says.
    say "the lists could not be read anew; going on with those that are there"
    if grep -q 'is not valid yet\|Read-only file system' "$E"; then give_up; fi
    failed=yes
  fi
}
failed=

# A power cut leaves packages half-way. dpkg finishes what it can; apt fetches anew what has to be unpacked again.
broken() {
  set -- "$R"/var/lib/dpkg/updates/[0-9]*
  [ -e "$1" ] || [ -n "$(dpkg --audit 2>&1)" ]
}
repair() {
  await_lock
  broken || return 0
  say "an installation was interrupted; repairing it"
  dpkg --force-confold --force-confdef --configure -a >&2 || say "dpkg could not configure everything yet"
  broken || return 0
  if [ "$update" != never ] && ! lists_are_fresh; then read_lists; fi
  fixed=yes
  apt --fix-broken install || fixed=
  # apt may also succeed and leave a package whose unpacking was cut off as it was.
  if [ -z "$fixed" ] || broken; then
    # What has to be unpacked again is named by dpkg: its records say `reinstreq`.
    again=$(dpkg-query -W -f '${Status} ${binary:Package}\n' | sed -n 's/^[a-z]* reinstreq [a-z-]* //p')
    [ -n "$fixed$again" ] || give_up
    # shellcheck disable=SC2086
    if [ -n "$again" ]; then apt --reinstall install $again || give_up; fi
  fi
  if broken; then
    dpkg --audit >&2 || true
    fail 1 "some packages are still broken: see above"
  fi
}

# A virtual package could never be seen as installed.
real() {
  for n; do
    shift
    set -- "$@" "${n%%=*}"
  done
  for n in $(apt-cache policy "$@" 2>/dev/null | sed -n '/^[^ ]/ { s/:$//; h; }; /^  Candidate: (none)/ { g; p; }'); do
    p=$(apt-cache showpkg "$n" 2>/dev/null | sed -n '/^Reverse Provides:/,$ { s/^\([^ ]*\) .*(.*$/\1/p; }' | sort -u | tr '\n' ' ')
    [ -z "$p" ] || fail 1 "$n is a virtual package: name one of those that provide it: $p"
  done
}
install() {
  set -- install "$@"
  [ "$recommends" = yes ] || set -- --no-install-recommends "$@"
  [ "$removals" = yes ] || set -- --no-remove "$@"
  [ "$downgrades" = no ] || set -- --allow-downgrades "$@"
  apt "$@"
}
not_found() { grep -qE 'Unable to locate package|has no installation candidate|Version .* was not found|404 +Not Found|Failed to fetch' "$E"; }

repair
case $verb in
  repair) ;;
  install)
    if [ "$update" = always ] || { [ "$update" = auto ] && ! lists_are_fresh; }; then [ -n "$updated" ] || read_lists; fi
    real "$@"
    if ! install "$@"; then
      if [ "$update" != never ] && [ -z "$updated" ] && not_found; then
        read_lists
        real "$@"
        install "$@" || give_up
      else
        if grep -q 'remove is disabled\|Packages need to be removed' "$E"; then
          fail 1 "other packages would have to go for it: look with \`apt-get -s install $*\`, then set \`allow_removals = true\`"
        fi
        # Missing because the lists could not be read: that can pass.
        if [ -n "$failed" ]; then exit 100; fi
        give_up
      fi
    fi
    ;;
  *)
    await_lock
    if [ "$removals" != yes ]; then
      # What is not named here would go too.
      others=
      for n in $(apt-get -s "$verb" "$@" 2>/dev/null | sed -n 's/^\(Remv\|Purg\) \([^ ]*\) .*/\2/p' | sort -u); do
        case " $* " in *" $n "* | *" ${n%%:*} "*) ;; *) others="$others $n" ;; esac
      done
      [ -z "$others" ] || fail 1 "these need it and would go too:$others; set \`allow_removals = true\` if that is meant"
    fi
    apt "$verb" "$@" || give_up
    ;;
esac
