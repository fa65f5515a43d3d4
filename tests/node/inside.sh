#!/usr/bin/env bash
# PID 1 of the cluster's namespaces: prepares them and runs the tests. Called by run.sh, by way of unshare.
#
# Whatever ends this script ends every process of the cluster, and with the last of them go the mounts, the network
# and its rules.
set -euo pipefail

state=${1:?run this by make e2e-node}
shift
: "${NODE_ADDRESSES:?run this by make e2e-node}"

# What runs here keeps to fixed paths of /run and /var, which are private now: nothing is written to the machine's.
mount -t tmpfs -o mode=755 run /run
mkdir -p "$state/var/upper" "$state/var/work"
mount -t overlay -o "lowerdir=/var,upperdir=$state/var/upper,workdir=$state/var/work" var /var

# kubelet insists on these values. They are the kernel's and have no namespace, so it is shown files that have them.
tunable() {
	printf '%s\n' "$2" >"$state/$(basename "$1")"
	mount --bind "$state/$(basename "$1")" "/proc/sys/$1"
}
tunable vm/overcommit_memory 1
tunable vm/panic_on_oom 0
tunable kernel/panic 10
tunable kernel/panic_on_oops 1
tunable kernel/keys/root_maxkeys 1000000
tunable kernel/keys/root_maxbytes 25000000

# A network with no way out: the nodes' addresses, and later a route to each Pod.
ip link set lo up
for address in $NODE_ADDRESSES; do ip address add "$address/32" dev lo; done
sysctl --quiet --write net.ipv4.ip_forward=1

# Not exec: a PID 1 that knows only its own children would leave the orphans of others unreaped.
status=0
"$@" || status=$?
exit "$status"
