#!/usr/bin/env bash
# Builds Flux's source-controller and kustomize-controller, crane for a registry, sops and age-keygen, and prints the absolute path of the
# directory they are in. That path is all that goes to standard output; progress goes to standard error.
#
# The result is kept under Cargo's target directory, by a hash of all that goes into it. Several callers at once are fine: one builds, the
# others wait. Nothing is ever half there under its final name.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CARGO_TARGET_DIR:-$here/../../../target}/flux

program=flux
# shellcheck source=../../support/build.sh
source "$here/../../support/build.sh"

# build MODULE PACKAGE: compiles a program with the versions of the module in that directory.
build() {
	say "building ${2##*/}"
	go_build "${2##*/}" "$here/$1" -ldflags "-s -w" -o "$staging/${2##*/}" "$2"
}

need_go
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
key=$({ cat "$here"/*/go.mod "$here"/*/go.sum "${BASH_SOURCE[0]}" && go version; } | sha256sum | cut -c1-12)
programs=$cache/programs-$key

lock
if [[ ! -d $programs ]]; then
	say "The first time takes some ten minutes and 2 GB in Go's build cache."
	stage
	build crane github.com/google/go-containerregistry/cmd/crane
	build kustomize-controller github.com/fluxcd/kustomize-controller
	build kustomize-controller github.com/getsops/sops/v3/cmd/sops
	build kustomize-controller filippo.io/age/cmd/age-keygen
	build source-controller github.com/fluxcd/source-controller
	publish "$programs"
fi
# Only another version or a killed build leaves these, and none runs beside this one.
find "$cache" -mindepth 1 -maxdepth 1 \( -name 'programs-*' -o -name 'staging.*' \) ! -path "$programs" -exec rm -rf {} +
echo "$programs"
