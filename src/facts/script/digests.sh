# sha256 and content of regular files: CHUNK FIRST PATH..., where FIRST is the first path's index among all. Of each
# index the caller's `wanted` tells how large the file may be to be hashed, to w (empty: any size), and the digest
# already known for identity $2 in this boot, to h. Nothing is looked up by name: that would be slow with many files.
digests() {
j=$1 k=$2
shift 2
# /proc/self/. is the tool's own, new process: its change time is the present.
o=$(stat -L -c "$D;%f %s %d:%i:%s:%y:%z %n" /proc/self/. "$@" 2>&1)
s=$?
begin "identity $j"; printf '%s\n' "$o"; end "$s"
begin "sha256 $j"
set -f
IFS=$N
I= c=1 n=$#
for l in $o; do
case $l in "$D;8"*) ;; *) continue;; esac
l=${l#* }
p=/${l#*" /"} i=${l%%" /"*}
z=${i%% *} i=${i#* }
# Answers come in the order of the paths; some have none.
while eval "a=\${$c}" && [ "$a" != "$p" ]; do
c=$((c+1))
[ "$c" -le "$n" ] || break 2
done
x=$((k+c-1)) w= h=
wanted "$x" "$i"
eval "z$x=\$z h$x=\$h"
if [ -n "$h" ]; then printf '%s  %s\n' "$h" "$p"
elif [ -z "$w" ] || [ "$z" -le "$w" ]; then set -- "$@" "$p"; I="$I$x$N"; fi
done
shift "$n"
s=0
if [ "$#" -gt 0 ]; then
o=$(sha256sum "$@" 2>&1)
s=$?
printf '%s\n' "$o"
# One line for each file: its digest, or a complaint.
set -- $o
c=0
for x in $I; do c=$((c+1)); done
if [ "$c" = "$#" ]; then
for x in $I; do h=${1%% *} && eval "h$x=\${h#\\\\}"; shift; done
fi
fi
unset IFS
set +f
end "$s"
contents
}
# FACT INDEX BYTES PATH SHA256: the bytes of a hashed file unless its digest is the one named or it has more.
content() {
eval "z=\$z$2 h=\$h$2"
if [ -z "$h" ] || [ "$h" = "$5" ] || [ "$z" -ge "$3" ]; then return; fi
begin "content $1"
head -c "$3" "$4"
end "$?"
}
