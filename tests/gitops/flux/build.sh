#!/usr/bin/env bash
# Builds Flux's source-controller and kustomize-controller, crane for a registry, sops and age-keygen, and prints the absolute path of the
# directory they are in. That path is all that goes to standard output; progress goes to standard error.
#
# The result is kept under Cargo's target directory, by a hash of all that goes into it. Several callers at once are fine: one builds, the
# others wait. Nothing is ever half there under its final name.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CARGO_TARGET_DIR:-$here/../../../target}/flux

say() { printf 'flux: %s\n' "$*" >&2; }

build_pid=
staging=

finish() {
	# Bash has what it runs in the background ignore SIGINT.
	if [[ -n $build_pid ]] && kill -TERM "$build_pid" 2>/dev/null; then wait "$build_pid" || true; fi
	if [[ -n $staging ]]; then rm -rf "$staging" || true; fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# build MODULE PACKAGE: compiles a program with the versions of the module in that directory, saying every 15 seconds that it is still at it.
build() {
	local name=${2##*/}
	local started=$SECONDS told=$SECONDS status=0
	say "building $name"
	(cd "$here/$1" && GOTMPDIR=$staging CGO_ENABLED=0 exec go build -trimpath -buildvcs=false -ldflags "-s -w" -o "$staging/$name" "$2") >&2 &
	build_pid=$!
	while kill -0 "$build_pid" 2>/dev/null; do
		# Short, as it also delays a quick build and an interruption.
		sleep 0.2
		if ((SECONDS - told >= 15)); then
			told=$SECONDS
			say "still building $name, $(((SECONDS - started) / 60)) min $(((SECONDS - started) % 60)) s"
		fi
	done
	wait "$build_pid" || status=$?
	build_pid=
	if ((status != 0)); then
		say "go build $2 failed"
		exit 1
	fi
}

command -v go >/dev/null || { say "Go is needed; the version is in go.mod"; exit 1; }
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
key=$({ cat "$here"/*/go.mod "$here"/*/go.sum "${BASH_SOURCE[0]}" && go version; } | sha256sum | cut -c1-12)
programs=$cache/programs-$key

exec {lock_fd}>"$cache/.lock"
if ! flock --nonblock "$lock_fd"; then
	say "waiting for another build"
	flock "$lock_fd"
fi
if [[ ! -d $programs ]]; then
	say "The first time takes some ten minutes and 2 GB in Go's build cache."
	staging=$(mktemp -d "$cache/staging.XXXXXX")
	build crane github.com/google/go-containerregistry/cmd/crane
	build kustomize-controller github.com/fluxcd/kustomize-controller
	build kustomize-controller github.com/getsops/sops/v3/cmd/sops
	build kustomize-controller filippo.io/age/cmd/age-keygen
	build source-controller github.com/fluxcd/source-controller
	chmod 755 "$staging"
	mv -T "$staging" "$programs"
	staging=
fi
# Only another version or a killed build leaves these, and none runs beside this one.
find "$cache" -mindepth 1 -maxdepth 1 \( -name 'programs-*' -o -name 'staging.*' \) ! -path "$programs" -exec rm -rf {} +
echo "$programs"
