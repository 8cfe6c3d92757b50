# NAME: the running kernel's host name.
p=$R/proc/sys/kernel/hostname
if [ -n "$R" ] || ! has hostname; then printf '%s\n' "$1" > "$p"; else hostname "$1"; fi
