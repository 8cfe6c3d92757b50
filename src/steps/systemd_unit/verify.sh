# Asks systemd whether it would load the unit with these files, before any of them is put in its place: a running service
# whose new unit file is refused would not come up again. POSIX sh. Arguments: verify UNIT. Before it: `files`, a function
# that calls `put NAME CONTENT` for each of them.
export LC_ALL=C SYSTEMD_COLORS=0
U=$2
# In a sandbox, and without systemd's tools, nobody can be asked.
[ -z "${HMCO_BOOT_ROOT-}" ] || exit 0
command -v systemd-analyze >/dev/null 2>&1 && [ -d /run/systemd/system ] || exit 0
umask 077
mkdir -p /run/hmco-boot && D=$(mktemp -d /run/hmco-boot/verify.XXXXXX) || exit 0
trap 'rm -rf -- "$D"' EXIT
trap 'exit 143' HUP INT TERM
put() {
  case $1 in */*) mkdir -p -- "$D/${1%/*}" || exit 0 ;; esac
  printf %s "$2" >"$D/$1" || exit 0
}
files
# Drop-ins alone belong to the unit that is there.
if [ ! -f "$D/$U" ]; then
  f=$(systemctl show --no-pager --value -p FragmentPath -- "$U" 2>/dev/null)
  [ -f "$f" ] && cp -- "$f" "$D/$U" || exit 0
fi
limit=
if command -v timeout >/dev/null 2>&1; then limit='timeout 30'; fi
said=$($limit systemd-analyze verify --man=no "$D/$U" 2>&1) && exit 0
# Much of what it complains of does no harm: other units that are not there yet, keys that a later systemd knows. Only what
# systemd does not load counts; a template is tried with an instance of its own.
stem=${U%.*}
case $said in
  *"Unit $U has a bad unit file setting"* | *"Unit $stem"?*".${U##*.} has a bad unit file setting"*) ;;
  *) exit 0 ;;
esac
printf '%s\n' "$said" | sed "s|$D/||g" >&2
printf '%s: systemd would not load it; nothing was changed\n' "$U" >&2
exit 1
