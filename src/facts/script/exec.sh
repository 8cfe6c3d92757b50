# INDEX PROGRAM ARGUMENT...: standard output in a frame, then standard error and exit status in another.
program() {
i=$1
shift
trap - USR1
unset QUOTING_STYLE
s=
case $1 in
*/*) if [ -f "$1" ] && [ -x "$1" ]; then :; elif [ -e "$1" ] || ! enterable "$1"; then s=denied; else s=absent; fi;;
*) has "$1" || s=absent;;
esac
if [ -n "$s" ]; then
begin "exec-refused $i"; end "$s"
return
fi
S=
has setsid && S=setsid
exec 3>&1
begin "exec $i"
e=$( { { $S "$@" 2>&4 3>&- 4>&-; printf '\n%s;%s\n' "$D" "$?" >&4; } | head -c 1048577 >&3 3>&- 4>&-; } 4>&1 | tail -c 65700 3>&-)
end 0
begin "exec-end $i"; printf '%s\n' "$e"; end 0
}
