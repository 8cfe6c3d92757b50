# Functions of the facts script. POSIX sh: must mean the same to dash, busybox ash and bash, with GNU and busybox tools.
# Comment lines are taken out before it is sent. D: delimiter, R: root prefix, V: run dir, L: seconds for a batch.
#
# The main shell never touches a path that may hang, and never runs a tool in the foreground: it starts a batch in the
# background and waits. A ticker sends it USR1 every second, which interrupts `wait`, so that even a process in
# uninterruptible sleep (a dead mount) costs its own batch only.
set +e +u +f +v +x +C
unset IFS CDPATH ENV BASH_ENV GREP_OPTIONS POSIXLY_CORRECT
PATH=${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C TZ=UTC QUOTING_STYLE=literal
N='
'
T=0 G=0 B=
trap 'T=$((T+1)) G=1' USR1
read -r M B </proc/self/stat
read -r B </proc/sys/kernel/random/boot_id
begin() { printf '\n%s < facts-%s %s\n' "$D" "$*" "$D"; }
end() { printf '\n%s > %s\n' "$D" "$1"; }
has() { command -v "$1" >/dev/null 2>&1; }
ticker() {
trap - USR1
trap 'kill "$z"; exit' TERM
while :; do
sleep 1 & z=$!
wait "$z"
kill -USR1 "$M" || exit
done
}
# All processes below $1, itself first: to P.
tree() {
P=" $1 " c=1
while [ "$c" = 1 ]; do
c=0
for d in /proc/[0-9]*; do
n=${d#/proc/} u=
case $P in *" $n "*) continue;; esac
while read -r a b; do case $a in PPid:) u=$b; break;; esac; done <"$d/status"
case $P in *" ${u:-none} "*) P="$P$n " c=1;; esac
done
done
}
# Bytes read so far by a batch's processes: to q.
progress() {
tree "$1"
q=0
for n in $P; do
a= b=
read -r a b <"/proc/$n/io" && q=$((q+b))
done
}
# Waits for process $1 at most $2 seconds; longer while it keeps reading, where $3 is given. Its status: to s.
await() {
T=0 o=-1
while :; do
G=0
wait "$1"
s=$?
[ "$G" = 0 ] && return
[ "$s" -ne 138 ] && return
[ "$T" -le "$2" ] && continue
if [ -n "$3" ] && [ "$T" -le "$3" ]; then
progress "$1"
[ "$q" != "$o" ] && o=$q && continue
fi
break
done
kill -STOP "$1"
tree "$1"
for n in $P; do kill -KILL "-$n"; kill -KILL "$n"; done
G=0
wait "$1"
s=timeout
}
# One frame, its body made by one command in the background: NAME SECONDS COMMAND...
framed() {
f=$1 l=$2
shift 2
begin "$f"
"$@" 2>&1 &
await "$!" "$l" ''
end "$s"
}
# A function in the background that makes its own frames: NAME SECONDS MORE FUNCTION...
batch() {
f=$1 l=$2 m=$3
shift 3
"$@" &
await "$!" "$l" "$m"
[ "$s" = timeout ] && { begin "timeout $f"; end 0; }
}
# Whether the nearest folder on the way to $1 that is there may be entered.
enterable() {
case $1 in /*/*) ;; *) return 0;; esac
set -- "${1%/*}"
[ -d "$1" ] && { [ -x "$1" ]; return; }
[ -e "$1" ] && return 0
enterable "$1"
}
