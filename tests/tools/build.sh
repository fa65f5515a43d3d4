#!/usr/bin/env bash
# Builds helm, helm-unittest, helm-docs and kubeconform, in the versions of go.mod, and prints the absolute path of
# their directory. That path is all that goes to standard output; progress goes to standard error.
#
# The result is kept under Cargo's target directory, by a hash of all that goes into it. Several callers at once
# are fine: one builds, the others wait. Nothing is ever half there under its final name.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CARGO_TARGET_DIR:-$here/../../target}/tools
# Builds unused for this long are removed: long enough for somebody who goes back and forth between branches.
keep_minutes=$((24 * 60))

build_pid=
staging=

say() { printf 'tools: %s\n' "$*" >&2; }

finish() {
	# Bash has what it runs in the background ignore SIGINT.
	if [[ -n $build_pid ]] && kill -TERM "$build_pid" 2>/dev/null; then wait "$build_pid" || true; fi
	if [[ -n $staging ]]; then rm -rf "$staging" || true; fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

command -v go >/dev/null || {
	say "Go is needed; the version is in go.mod"
	exit 1
}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
cd "$here"
tools=$cache/tools-$({ cat go.mod go.sum build.sh && go version; } | sha256sum | cut -c1-12)

exec {lock_fd}>"$cache/.lock"
if ! flock --nonblock "$lock_fd"; then
	say "waiting for another build"
	flock "$lock_fd"
fi
if [[ ! -d $tools ]]; then
	say "building helm and what tests a chart. The first time takes up to five minutes and 1 GB in Go's build cache."
	staging=$(mktemp -d "$cache/staging.XXXXXX")
	mapfile -t packages < <(go list -f '{{.ImportPath}}' tool)
	# helm tells the API server its version, and refuses charts that want another.
	version=$(go list -m -f '{{.Version}}' helm.sh/helm/v4)
	GOTMPDIR=$staging CGO_ENABLED=0 go build -trimpath -buildvcs=false \
		-ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=$version" -o "$staging/bin/" "${packages[@]}" >&2 &
	build_pid=$!
	told=$SECONDS
	while kill -0 "$build_pid" 2>/dev/null; do
		sleep 0.2
		if ((SECONDS - told >= 15)); then
			told=$SECONDS
			say "still building, $((SECONDS / 60)) min $((SECONDS % 60)) s"
		fi
	done
	wait "$build_pid" || {
		say "go build failed"
		exit 1
	}
	build_pid=
	chmod 755 "$staging/bin"
	mv -T "$staging/bin" "$tools"
fi
touch "$tools"

find "$cache" -mindepth 1 -maxdepth 1 -name 'tools-*' -mmin +"$keep_minutes" -exec rm -rf {} +
# Only a build that was killed leaves these, and none runs beside this one.
rm -rf "$cache"/staging.*

echo "$tools"
