#!/bin/sh
# Answers and acts as systemctl does for units of a sandbox folder ROOT, as far as the kinds ask.
root='ROOT'
state=$root/run/systemd/units etc=$root/etc/systemd/system lib=$root/usr/lib/systemd/system

# The unit's text, as it would be loaded now.
text() {
  if [ -f "$etc/$1" ]; then cat "$etc/$1"; else cat "$lib/$1"; fi 2>/dev/null || return
  cat "$etc/$1.d"/*.conf 2>/dev/null
  :
}
show() {
  load=loaded active=inactive sub=dead file=static fragment=$lib/$1 reload=no invocation=
  [ ! -f "$etc/$1" ] || fragment=$etc/$1
  if [ -L "$etc/$1" ]; then load=masked file=masked
  elif t=$(text "$1"); then
    case $t in *'[Install]'*) file=disabled ;; esac
    [ ! -L "$etc/wants/$1" ] || file=enabled
  else load=not-found; fi
  if [ -f "$state/$1.active" ]; then
    active=active sub=running
    read -r invocation <"$state/$1.active"
  fi
  [ -f "$state/$1.loaded" ] && [ "$(text "$1")" != "$(cat "$state/$1.loaded")" ] && reload=yes
  can=no
  case $(text "$1") in *ExecReload=*) can=yes ;; esac
  printf '%s\n' "Id=$1" "Names=$1" "LoadState=$load" "ActiveState=$active" "SubState=$sub" "UnitFileState=$file" \
    "FragmentPath=${fragment#"$root"}" Result=success NRestarts=0 Type=simple RemainAfterExit=no "CanReload=$can" \
    "InvocationID=$invocation" "NeedDaemonReload=$reload" ConditionResult=yes ''
}
start() {
  text "$1" >/dev/null || { echo "Failed to start $1: Unit not found." >&2; exit 5; }
  text "$1" >"$state/$1.loaded"
  tr -d - </proc/sys/kernel/random/uuid >"$state/$1.active"
}
verb=$1
shift
[ "$verb" != --no-block ] || { verb=$1; shift; }
while [ $# -gt 0 ]; do
  case $1 in
    --) shift; break ;;
    -p) shift 2 ;;
    *) shift ;;
  esac
done
[ "$verb" = show ] || mkdir -p "$state" || exit
for unit; do
  case $verb in
    show) show "$unit" ;;
    start) [ -f "$state/$unit.active" ] || start "$unit" ;;
    restart) start "$unit" ;;
    reload) [ -f "$state/$unit.active" ] ;;
    stop) rm -f "$state/$unit.active" ;;
    enable | reenable) mkdir -p "$etc/wants" && ln -sf "../$unit" "$etc/wants/$unit" ;;
    disable) rm -f "$etc/wants/$unit" ;;
    mask) ln -sf /dev/null "$etc/$unit" ;;
    unmask) rm -f "$etc/$unit" ;;
    reset-failed) ;;
    *) echo "Unknown command verb $verb." >&2; exit 1 ;;
  esac || exit
done
if [ "$verb" = daemon-reload ]; then
  for f in "$state"/*.loaded; do
    [ -e "$f" ] || continue
    unit=${f##*/}
    text "${unit%.loaded}" >"$f"
  done
fi
exit 0
