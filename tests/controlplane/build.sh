#!/usr/bin/env bash
# Builds the control plane and prints the absolute path of its directory, which holds `controlplane` (the
# supervisor) beside etcd, kube-apiserver, kubectl and so on: a KUBEBUILDER_ASSETS directory. That path is all
# that goes to standard output; progress goes to standard error.
#
# With KUBEBUILDER_ASSETS set, the components are taken from there and only the supervisor is compiled: seconds
# instead of minutes.
#
# The result is kept under Cargo's target directory, by a hash of all that goes into it. Several callers at once
# are fine: one builds, the others wait. Nothing is ever half there under its final name.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CARGO_TARGET_DIR:-$here/../../target}/controlplane
components=(etcd kube-apiserver kube-controller-manager kube-scheduler kubectl)
required=(etcd kube-apiserver kubectl)
# Builds unused for this long are removed: long enough for somebody who goes back and forth between branches.
keep_minutes=$((24 * 60))

program=controlplane
# shellcheck source=../support/build.sh
source "$here/../support/build.sh"

# key TEXT FILE...: a hash of what is compiled, how, and with which Go.
key() { { echo "$1" && shift && cat "$@" && go version; } | sha256sum | cut -c1-12; }

# build_components DIRECTORY FLAGS: Kubernetes and etcd, one program and a link for each name.
build_components() {
	say "building Kubernetes $version. The first time takes up to ten minutes, 3 GB in Go's build cache and 2.5 GB of memory."
	say "Set KUBEBUILDER_ASSETS to a directory with ${required[*]} to do without."
	stage
	go_build Kubernetes . -ldflags "$2" -o "$staging/kubernetes" ./kubernetes
	local name
	for name in "${components[@]}"; do ln -s kubernetes "$staging/$name"; done
	publish "$1"
}

# build_assets DIRECTORY COMPONENTS: the supervisor, and links to the components there are.
build_assets() {
	stage
	go_build "the supervisor" . -ldflags "-s -w" -o "$staging/controlplane" ./supervisor
	local name
	for name in "${components[@]}"; do
		if [[ -x $2/$name ]]; then ln -s "$2/$name" "$staging/$name"; fi
	done
	publish "$1"
}

given=${KUBEBUILDER_ASSETS:-}
if [[ -n $given ]]; then
	[[ -d $given ]] || fail "KUBEBUILDER_ASSETS=$given is no directory"
	given=$(cd "$given" && pwd)
	for name in "${required[@]}"; do
		[[ -x $given/$name ]] || fail "KUBEBUILDER_ASSETS=$given has no $name"
	done
	if [[ -x $given/controlplane ]]; then
		# What this script has built before: there is nothing to add.
		echo "$given"
		exit
	fi
fi
need_go

mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
# Both paths that the caller may have given relative to their own directory are absolute by now.
cd "$here"
lock

if [[ -n $given ]]; then
	from=$given
else
	version=$(awk '$1 == "k8s.io/kubernetes" { print $2; exit }' "$here/go.mod")
	IFS=. read -r major minor _ <<<"${version#v}"
	stamp=k8s.io/component-base/version
	# kubectl refuses an API server that does not know its version.
	flags="-s -w -X $stamp.gitVersion=$version -X $stamp.gitMajor=$major -X $stamp.gitMinor=$minor"
	from=$cache/kubernetes-$(key "$flags" go.mod go.sum kubernetes/*.go)
	[[ -d $from ]] || build_components "$from" "$flags"
	touch "$from"
fi

# The names of all that is there, as a component may have been added to a directory of somebody's own.
assets=$cache/assets-$(key "$(echo "$from"/*)" go.mod supervisor/*.go)
[[ -d $assets ]] || build_assets "$assets" "$from"
touch "$assets"

remove_unused '*-*' "$keep_minutes"

echo "$assets"
