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

program=tools
# shellcheck source=../support/build.sh
source "$here/../support/build.sh"

need_go
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
cd "$here"
tools=$cache/tools-$({ cat go.mod go.sum build.sh && go version; } | sha256sum | cut -c1-12)

lock
if [[ ! -d $tools ]]; then
	say "building helm and what tests a chart. The first time takes up to five minutes and 1 GB in Go's build cache."
	stage
	mapfile -t packages < <(go list -f '{{.ImportPath}}' tool)
	# helm tells the API server its version, and refuses charts that want another.
	version=$(go list -m -f '{{.Version}}' helm.sh/helm/v4)
	go_build "helm and the others" . -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=$version" -o "$staging/bin/" "${packages[@]}"
	publish "$tools" "$staging/bin"
fi
touch "$tools"

remove_unused 'tools-*' "$keep_minutes"

echo "$tools"
