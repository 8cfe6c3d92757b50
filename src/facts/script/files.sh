# Small text files, all by one grep: it puts the file's name before each line, so that no content can imitate another.
files() {
n=$#
while [ "$n" -gt 0 ]; do
n=$((n-1)) p=$1
shift
if [ -f "$p" ]; then
if [ -r "$p" ]; then set -- "$@" "$p"; else printf '%s;denied %s\n' "$D" "$p"; fi
elif [ -e "$p" ]; then printf '%s;other %s\n' "$D" "$p"
elif enterable "$p"; then printf '%s;absent %s\n' "$D" "$p"
else printf '%s;denied %s\n' "$D" "$p"; fi
done
[ "$#" = 0 ] || exec grep -aH '' "$@"
}
