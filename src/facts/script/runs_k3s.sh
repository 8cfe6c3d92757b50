# Whether a unit starts a server or an agent; a line may go on on the next one, in quotes or not.
runs_k3s() {
grep -v '^[[:space:]]*[#;]' "$1" | tr "\\\\\\n\\t'\"" '     ' |
grep -qE '(^| )ExecStart=[-@:+! ]*(/[^ ]*)?/k3s( +-[^ ]+)* +(server|agent)( |$)'
}
