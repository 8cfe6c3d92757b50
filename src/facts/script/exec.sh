# INDEX PROGRAM ARGUMENT...: standard output in a frame, then standard error and exit status in another.
program() {
i=$1
shift
trap - USR1
unset QUOTING_STYLE
if ! has "$1"; then
if [ -e "$1" ]; then s=denied; elif enterable "$1"; then s=absent; else s=denied; fi
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
