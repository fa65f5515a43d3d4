#!/usr/bin/env bash
# Runs the tests of this directory: a cluster of two nodes that run Pods, in namespaces of its own, from the images of
# `make image`. Needs root, a Debian or one whose packages have the same names, and nothing else; takes all down again.
#
# Called by `make e2e-node`, which builds the images and helm. With NODE_LOGS=DIRECTORY, the logs of a run that fails are
# kept there.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
: "${IMAGES:?run this by make e2e-node}" "${HELM:?run this by make e2e-node}"
built=${CARGO_TARGET_DIR:-$root/target}/node
# Of the test's own network namespace, which has no way out.
addresses="10.98.0.1 10.98.0.2"
# More than all of it takes on a busy machine.
timeout=20m

say() { printf 'e2e-node: %s\n' "$*" >&2; }

fail() {
	say "$*"
	exit 1
}

# What a node is made of that is no Go module: packages, with a program or plugin of each.
require() {
	local missing=() package file
	while read -r package file; do
		command -v "$file" >/dev/null || [[ -x $file ]] || missing+=("$package")
	done <<-LIST
		containerd containerd
		runc runc
		containernetworking-plugins /usr/lib/cni/ptp
		nftables nft
		iproute2 ip
		procps sysctl
		util-linux unshare
	LIST
	((${#missing[@]})) || return 0
	command -v apt-get >/dev/null || fail "needs ${missing[*]}, by their names in Debian"
	say "installing ${missing[*]}"
	apt-get install --yes --no-install-recommends "${missing[@]}" >&2 ||
		{ apt-get update >&2 && apt-get install --yes --no-install-recommends "${missing[@]}" >&2; } ||
		fail "could not install ${missing[*]}"
}

# build OUTPUT DIRECTORY PACKAGE LDFLAGS
build() { (cd "$2" && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w ${4:-}" -o "$1" "$3"); }

# The directories in which control groups are made: that of version 2, or one for each of version 1's controllers and,
# where there is one beside them, that of version 2, into which runc puts a group too.
hierarchies() { awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/self/mounts; }

make_cgroups() {
	local hierarchy number directory
	for hierarchy in $(hierarchies); do
		mkdir "$hierarchy/$cgroup"
		for number in 1 2; do
			directory=$hierarchy/$cgroup/node-$number
			mkdir "$directory"
		done
		# Beside version 1 it has no controllers to hand down.
		if grep --quiet memory "$hierarchy/cgroup.controllers" 2>/dev/null; then
			for directory in "$hierarchy" "$hierarchy/$cgroup"; do
				echo "+cpu +cpuset +memory +pids" >"$directory/cgroup.subtree_control"
			done
		fi
	done
}

remove_cgroups() {
	local hierarchy
	for hierarchy in $(hierarchies); do
		[[ -d $hierarchy/$cgroup ]] || continue
		find "$hierarchy/$cgroup" -depth -type d -exec rmdir {} \; 2>/dev/null || true
	done
}

# Removes what runs that were killed have left: their locks have gone with them, and with their PID 1 their processes.
sweep() {
	local left lock
	for left in "$temp"/ukgpro-e2e-node.*; do
		[[ -d $left ]] || continue
		exec {lock}<"$left"
		if flock --nonblock "$lock"; then
			cgroup=ukgpro-e2e-${left##*.}
			remove_cgroups
			rm -rf --one-file-system "$left"
		fi
		exec {lock}<&-
	done
}

# What the machine has of each kind that must not change.
inventory() {
	echo "mounts: $(sort /proc/self/mounts)"
	echo "links: $(ip -brief link | awk '{print $1}' | sort)"
	echo "rules: $(nft list ruleset 2>/dev/null)"
	echo "namespaces: $(ls /run/netns 2>/dev/null)"
	echo "tunables: $(cat /proc/sys/vm/overcommit_memory /proc/sys/vm/panic_on_oom /proc/sys/kernel/panic /proc/sys/kernel/panic_on_oops /proc/sys/net/ipv4/ip_forward)"
	echo "cgroups: $(for h in $(hierarchies); do find "$h" -maxdepth 1 -name "$cgroup"; done)"
	echo "processes: $(pgrep -f "$state" || true)"
	echo "written: $(ls -d /var/lib/kubelet /var/lib/cni /var/lib/containerd/io.containerd* /etc/cni/net.d/* 2>/dev/null)"
}

[[ $EUID == 0 ]] || fail "needs root, for containers, namespaces and control groups"
command -v go >/dev/null || fail "Go is needed; the version is in go.mod"
require

assets=$("$root/tests/controlplane/build.sh")
say "building kubelet, kube-proxy and CoreDNS; the first time takes some minutes"
mkdir -p "$built"
version=$(awk '$1 == "k8s.io/kubernetes" { print $2; exit }' "$root/tests/controlplane/go.mod")
IFS=. read -r major minor _ <<<"${version#v}"
stamp=k8s.io/component-base/version
build "$built/node" "$root/tests/controlplane" ./node "-X $stamp.gitVersion=$version -X $stamp.gitMajor=$major -X $stamp.gitMinor=$minor"
for name in kubelet kube-proxy; do ln -sf node "$built/$name"; done
build "$built/pause" "$root/tests/controlplane" ./pause
build "$built/coredns" "$here/dns" .
build "$built/image" "$root/image" .
SOURCE_DATE_EPOCH=0 "$built/image" --output "$built/pause.tar" --name localhost/pause:1 --platform "linux/$(go env GOARCH)" --program "$built/pause" >&2
(cd "$here" && go test -c -o "$built/e2e-node.test" .)

temp=${TMPDIR:-/tmp}
sweep
# It gets the name that sweep looks for once it is locked.
unlocked=$(mktemp -d "$temp/ukgpro-e2e-unlocked.XXXXXX")
state=$temp/ukgpro-e2e-node.${unlocked##*.}
cgroup=ukgpro-e2e-${unlocked##*.}
exec {own}<"$unlocked"
flock "$own"
mv "$unlocked" "$state"
before=
inner=

finish() {
	local status=$?
	trap - EXIT INT TERM HUP
	# With their PID 1, all the processes of the namespaces end; wait returns when they have.
	if [[ -n $inner ]]; then
		kill -KILL "$inner" 2>/dev/null || true
		wait "$inner" 2>/dev/null || true
	fi
	remove_cgroups
	if ((status != 0)) && [[ -n ${NODE_LOGS:-} ]]; then
		mkdir -p "$NODE_LOGS" && cp -r "$state/logs/." "$NODE_LOGS" && say "logs are in $NODE_LOGS"
	fi
	rm -rf --one-file-system "$state"
	if [[ -n $before ]]; then
		local after
		after=$(inventory)
		if [[ $before != "$after" ]]; then
			say "something is left behind:"
			diff <(echo "$before") <(echo "$after") >&2 || true
			((status)) || status=1
		fi
	fi
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

before=$(inventory)
make_cgroups
export NODE_STATE=$state NODE_CGROUP=/$cgroup NODE_ADDRESSES=$addresses NODE_CONTROLPLANE=$assets NODE_ASSETS=$built \
	NODE_COREDNS=$built/coredns NODE_HELM=$HELM NODE_IMAGES="$built/pause.tar ${IMAGES//$'\n'/ }" \
	NODE_CHART=$root/charts/ukgpro-operator
# In the background, as bash obeys a signal only between two programs; and both have the kernel end them with this one.
setpriv --pdeathsig KILL unshare --mount --net --pid --ipc --uts --fork --kill-child --mount-proc \
	"$here/inside.sh" "$state" "$built/e2e-node.test" -test.v -test.timeout="$timeout" </dev/null &
inner=$!
status=0
wait "$inner" || status=$?
inner=
exit "$status"
