#!/usr/bin/env bash
# Writes the operator's bill of materials to target/sbom, in CycloneDX 1.5, and prints its path: the crates that are
# linked into the image's program, no more and no fewer, with their licences and checksums. SOURCE_DATE_EPOCH is the commit's, so that the
# same commit gives the same bytes.
#
#   TARGET   the program's platform (x86_64-unknown-linux-gnu); the crates are the same for arm64
set -euo pipefail

version=0.5.9
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target_dir=${CARGO_TARGET_DIR:-target}
target=${TARGET:-x86_64-unknown-linux-gnu}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH

command -v cargo-cyclonedx >/dev/null || cargo install --locked --version "$version" cargo-cyclonedx >&2
crate=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
to=$target_dir/sbom/ukgpro-operator-$crate.cdx.json
mkdir -p "$(dirname "$to")"
# It writes beside the manifest of each member of the workspace.
trap 'rm -f ukgpro-operator-sbom.json crates/*/ukgpro-operator-sbom.json' EXIT
cargo cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps \
	--target "$target" --override-filename ukgpro-operator-sbom >&2
mapfile -t linked < <(cargo tree --locked --package ukgpro-operator --edges normal --target "$target" --prefix none --format '{p}' |
	awk '{ print $1 "@" substr($2, 2) }' | sort -u)
root=$(pwd -P)
(cd release/prune && go run . "$root" "${linked[@]}") <ukgpro-operator-sbom.json >"$to.new"
mv "$to.new" "$to"

# One entry for each crate that Cargo links, and the program's own.
listed=$(grep -c '"purl": "pkg:cargo/[^#]*",\?$' "$to")
[[ $listed == "${#linked[@]}" ]] || {
	echo "sbom: $to lists $listed crates, and ${#linked[@]} are linked" >&2
	exit 1
}
echo "$to"
