# What K3s says of itself on this machine, to variables. POSIX sh. Set before: ROLE (server or agent), NODE (the name of its
# Node; empty: the host's, as K3s makes it).
NL='
'
# K3s takes capitals out of both.
NODE=$(printf '%s\n' "${NODE:-$(uname -n)}" | tr '[:upper:]' '[:lower:]')
case $ROLE in
  server) C=/etc/rancher/k3s/k3s.yaml A=https://127.0.0.1:6443 ;;
  # A kubelet may read its own Node and lease.
  *) C=/var/lib/rancher/k3s/agent/kubelet.kubeconfig A= ;;
esac
# A K3s that is not packed into its release's wrapper knows kubectl by that name only.
if [ "$(readlink /usr/local/bin/kubectl 2>/dev/null)" = k3s ]; then
  kubectl() { /usr/local/bin/kubectl "$@"; }
else
  kubectl() { /usr/local/bin/k3s kubectl "$@"; }
fi
# One GET, without discovery, which would leave files in a home folder.
raw() { kubectl --kubeconfig "$C" ${A:+--server "$A"} --request-timeout 10s get --raw "$1" 2>&1; }
# The field $2 of the condition $1 of the Node in o.
condition() { printf '%s\n' "$o" | grep "\"type\":\"$1\"" | sed -n "s/.*\"$2\":\"\\([^\"]*\\)\".*/\\1/p" | head -n 1; }
# The field $1 in o.
field() { printf '%s\n' "$o" | sed -n "s|.*\"$1\":\"\\([^\"]*\\)\".*|\\1|p" | head -n 1; }
# Renewals of its kubelet: they change when the kubelet runs, and by it alone.
beats() {
  o=$(raw "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/$NODE") || o=
  lease=$(field renewTime)
}
# What its API server says of itself.
serving() {
  readyz=$(raw /readyz) || :
  readyz=${readyz%%"$NL"*}
}
# What its Node says; what kept it from saying that, to trouble.
member() {
  ready= voter= beat= kubelet= simulated= trouble=
  o=$(raw "/api/v1/nodes/$NODE") || { trouble=${o%%"$NL"*}; trouble=${trouble:-no answer}; return 1; }
  o=$(printf '%s\n' "$o" | tr '{}' "$NL$NL")
  ready=$(condition Ready status)
  beat=$(condition Ready lastHeartbeatTime)
  voter=$(condition EtcdIsVoter status)
  kubelet=$(field kubeletVersion)
  simulated=$(field hmco-boot/simulated)
}
look() {
  readyz= ready= voter= beat= kubelet= simulated= trouble=
  if [ "$ROLE" != server ]; then
    member || :
    return 0
  fi
  # Both at once: most of either is the start of kubectl.
  raw /readyz >/dev/null &
  member || :
  if wait $!; then readyz=ok; elif [ -z "$trouble" ]; then serving; fi
}
