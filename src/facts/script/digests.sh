# sha256 and content of regular files. `wanted PATH` is written by the caller: how large a file may be to be hashed, to w
# (empty: any size), and the digest already known for PATH, identity $2 and this boot, to h.
digests() {
j=$1
shift
# /proc/self/. is the tool's own, new process: its change time is the present.
o=$(stat -L -c "$D;%f %s %d:%i:%s:%y:%z %n" /proc/self/. "$@" 2>&1)
s=$?
begin "identity $j"; printf '%s\n' "$o"; end "$s"
set -f
IFS=$N
set --
H= K=
for l in $o; do
case $l in "$D;8"*) ;; *) continue;; esac
l=${l#* }
p=/${l#*" /"} i=${l%%" /"*}
z=${i%% *} i=${i#* }
w= h=
wanted "$p" "$i"
if [ -n "$h" ]; then H="$H$h  $p$N"
elif [ -z "$w" ] || [ "$z" -le "$w" ]; then set -- "$@" "$p"
else continue; fi
K="$K$N$p$N$z"
done
unset IFS
set +f
K="$K$N"
if [ "$#" -gt 0 ]; then h=$(sha256sum "$@" 2>&1); s=$?; H="$H$h"; else s=0; fi
begin "sha256 $j"; printf '%s\n' "$H"; end "$s"
H="$N$H$N"
contents
}
# INDEX BYTES PATH SHA256: the bytes, and one more where there are more, unless the digest is the one named.
content() {
case $H in *"$N$4  $3$N"*) return;; esac
case $K in *"$N$3$N"*) ;; *) return;; esac
z=${K#*"$N$3$N"}
[ "${z%%"$N"*}" -lt "$2" ] || return
begin "content $1"
head -c "$2" "$3"
end "$?"
}
