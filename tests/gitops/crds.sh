#!/usr/bin/env bash
# Prints the paths of the CRDs of the kinds that examples/gitops uses, one a line. They are from their projects' Go modules, each held
# to the checksum in crds.txt.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v go >/dev/null || { echo "crds: Go is needed" >&2; exit 1; }
# Go looks for a module of the working directory, and would take its versions.
cd /

while read -r module version sum files; do
	[[ -n $module && $module != \#* ]] || continue
	found=$(go mod download -json "$module@$version" 2>&1) || { echo "crds: $found" >&2; exit 1; }
	if [[ $found != *"\"Sum\": \"$sum\""* ]]; then
		echo "crds: $module $version has not the checksum of crds.txt" >&2
		exit 1
	fi
	directory=$(sed -n 's/.*"Dir": "\(.*\)",\{0,1\}$/\1/p' <<<"$found")
	# shellcheck disable=SC2086  # a pattern
	printf '%s\n' "$directory"/$files
done <"$here/crds.txt"
