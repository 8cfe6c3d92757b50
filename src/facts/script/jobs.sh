# The folders of jobs, and what the kernel says of their processes.
text() {
x=
while IFS= read -r a; do x="$x$a$N"; done <"$1"
x="$x$a"
}
jobs_left() {
begin jobs
s=0
if [ -d "$V/jobs" ]; then
if [ -r "$V/jobs" ] && [ -x "$V/jobs" ]; then
for d in "$V"/jobs/*; do
[ -d "$d" ] || continue
printf '%s;job %s\n' "$D" "${d##*/}"
[ -x "$d" ] || s=denied
if [ -f "$d/pid" ]; then
[ -r "$d/pid" ] || s=denied
x= b=
read -r x b <"$d/pid"
printf '%s;pid %s %s\n' "$D" "$x" "$b"
case $x in ''|*[!0-9]*) ;; *) text "/proc/$x/stat" && printf '%s;stat %s\n' "$D" "$x";; esac
fi
if [ -f "$d/status" ]; then
[ -r "$d/status" ] || s=denied
text "$d/status"
printf '%s;status %s\n' "$D" "$x"
fi
done
else s=denied; fi
elif ! enterable "$V/jobs/x"; then s=denied; fi
end "$s"
}
