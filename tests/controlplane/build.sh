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

build_pid=
staging=

say() { printf 'controlplane: %s\n' "$*" >&2; }

fail() {
	say "$*"
	exit 1
}

finish() {
	# Bash has what it runs in the background ignore SIGINT.
	if [[ -n $build_pid ]] && kill -TERM "$build_pid" 2>/dev/null; then wait "$build_pid" || true; fi
	if [[ -n $staging ]]; then rm -rf "$staging" || true; fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# key TEXT FILE...: a hash of what is compiled, how, and with which Go.
key() { { echo "$1" && shift && cat "$@" && go version; } | sha256sum | cut -c1-12; }

# go_build OUTPUT PACKAGE [FLAG...]: compiles, saying every 15 seconds that it is still at it.
go_build() {
	local output=$1 package=$2 started=$SECONDS told=$SECONDS
	shift 2
	# Go's scratch files go with ours when it is interrupted and cannot remove them.
	GOTMPDIR=$staging CGO_ENABLED=0 go build -trimpath -buildvcs=false "$@" -o "$output" "$package" >&2 &
	build_pid=$!
	while kill -0 "$build_pid" 2>/dev/null; do
		# Short, as it also delays a quick build and an interruption.
		sleep 0.2
		if ((SECONDS - told >= 15)); then
			told=$SECONDS
			say "still building $package, $(((SECONDS - started) / 60)) min $(((SECONDS - started) % 60)) s"
		fi
	done
	local status=0
	wait "$build_pid" || status=$?
	build_pid=
	if ((status != 0)); then fail "go build $package failed"; fi
}

# Takes the lock, or says whom it waits for.
lock() {
	exec {lock_fd}>"$cache/.lock"
	if flock --nonblock "$lock_fd"; then return; fi
	local started=$SECONDS
	say "waiting for another build"
	until flock --wait 15 "$lock_fd"; do
		say "still waiting for another build, $((SECONDS - started)) s"
	done
}

# build_components DIRECTORY FLAGS: Kubernetes and etcd, one program and a link for each name.
build_components() {
	say "building Kubernetes $version. The first time takes up to ten minutes, 3 GB in Go's build cache and 2.5 GB of memory."
	say "Set KUBEBUILDER_ASSETS to a directory with ${required[*]} to do without."
	staging=$(mktemp -d "$cache/staging.XXXXXX")
	go_build "$staging/kubernetes" ./kubernetes -ldflags "$2"
	local name
	for name in "${components[@]}"; do ln -s kubernetes "$staging/$name"; done
	publish "$1"
}

# build_assets DIRECTORY COMPONENTS: the supervisor, and links to the components there are.
build_assets() {
	staging=$(mktemp -d "$cache/staging.XXXXXX")
	go_build "$staging/controlplane" ./supervisor -ldflags "-s -w"
	local name
	for name in "${components[@]}"; do
		if [[ -x $2/$name ]]; then ln -s "$2/$name" "$staging/$name"; fi
	done
	publish "$1"
}

# publish DIRECTORY: gives what has been staged its name, and everyone the right to read it, which mktemp denies.
publish() {
	chmod 755 "$staging"
	mv -T "$staging" "$1"
	staging=
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
command -v go >/dev/null || fail "Go is needed; the version is in go.mod"

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

find "$cache" -mindepth 1 -maxdepth 1 -name '*-*' -mmin +"$keep_minutes" -exec rm -rf {} +
# Only a build that was killed leaves these, and none runs beside this one.
rm -rf "$cache"/staging.*

echo "$assets"
