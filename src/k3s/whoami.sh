# Which K3s is here, to ROLE and NODE, as its unit and its configuration say.
ROLE=server NODE=
if [ -f /etc/systemd/system/k3s-agent.service ] && ! [ -f /etc/systemd/system/k3s.service ]; then ROLE=agent; fi
for f in /etc/rancher/k3s/config.yaml /etc/rancher/k3s/config.yaml.d/*.yaml; do
[ -f "$f" ] || continue
n=$(sed -n "s/^node-name: *[\"']\{0,1\}\([^\"' ]*\)[\"']\{0,1\} *\$/\1/p" "$f" | tail -n 1)
[ -z "$n" ] || NODE=$n
done
