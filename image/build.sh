#!/usr/bin/env bash
# Builds the container images, and prints the paths of the tars: ukgpro-operator and ukgpro-simulator, each one static
# program on an empty base. Called by `make image`. No daemon, base image or registry is needed.
#
#   build.sh [operator] [simulator]      both without arguments
#
# ARCH         amd64 or arm64 (this machine's)
# PROFILE      release, or dev for images of before optimisation, in a fraction of the time (release)
# REPOSITORY   what comes before /ukgpro-operator and /ukgpro-simulator in the images' names
# SOURCE_URL   where the source is published, for the image's labels
# SOURCE_DATE_EPOCH, REVISION   of the commit, unless given
#
# The same commit gives the same bytes, wherever it lies: paths are kept out of the programs, and times out of the tar.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
target_dir=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
out=$target_dir/image
cargo_home=${CARGO_HOME:-$HOME/.cargo}
ca_certificates=${CA_CERTIFICATES:-/etc/ssl/certs/ca-certificates.crt}
# What the operator may have as pulled.
at_most=8000000

say() { printf 'image: %s\n' "$*" >&2; }

fail() {
	say "$*"
	exit 1
}

machine=$(uname -m)
case ${ARCH:-$machine} in
amd64 | x86_64) arch=amd64 triple=x86_64-unknown-linux-gnu gcc=x86_64-linux-gnu-gcc ;;
arm64 | aarch64) arch=arm64 triple=aarch64-unknown-linux-gnu gcc=aarch64-linux-gnu-gcc ;;
*) fail "ARCH=$ARCH is neither amd64 nor arm64" ;;
esac
profile=${PROFILE:-release}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
repository=${REPOSITORY:-ghcr.io/ukgpro-operator}
revision=${REVISION:-$(git rev-parse HEAD 2>/dev/null || true)}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH

[[ -s $ca_certificates ]] || fail "$ca_certificates is missing: install ca-certificates, or name another by CA_CERTIFICATES"
[[ -d $(rustc --print sysroot)/lib/rustlib/$triple ]] || fail "Rust has no $triple here: rustup target add $triple"
command -v go >/dev/null || fail "Go is needed; the version is in image/go.mod"
strip=strip
if [[ $triple != "$machine"-* ]]; then
	command -v "$gcc" >/dev/null || fail "needs $gcc: install gcc-${gcc%-gcc} and libc6-dev-$arch-cross"
	variable=${triple//-/_}
	export "CC_$variable=$gcc" "CARGO_TARGET_${variable^^}_LINKER=$gcc"
	strip=${gcc%gcc}strip
fi

# compile CARGO-ARGUMENT...
compile() {
	# The flags of whoever calls this would be in the program too.
	env -u CARGO_ENCODED_RUSTFLAGS \
		RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=$root=. --remap-path-prefix=$cargo_home=cargo" \
		"CFLAGS_${triple//-/_}=-ffile-prefix-map=$root=. -ffile-prefix-map=$target_dir=target -ffile-prefix-map=$cargo_home=cargo" \
		cargo build --locked --profile "$profile" --target "$triple" --target-dir "$target_dir" "$@" >&2
}

# write PROGRAM TITLE DESCRIPTION IMAGE-ARGUMENT...
write() {
	local program=$1 title=$2 description=$3
	shift 3
	local built=$target_dir/$triple/${profile/#dev/debug}/$program
	local tar=$out/$program-$version-linux-$arch.tar
	if [[ $profile != release ]]; then
		# Of what is not optimised, most are symbols.
		mkdir -p "$out/stripped"
		"$strip" --strip-all -o "$out/stripped/$program" "$built"
		built=$out/stripped/$program
	fi
	"$out/image" --output "$tar" --name "$repository/$program:$version" --platform "linux/$arch" --program "$built" "$@" \
		--label "org.opencontainers.image.title=$title" \
		--label "org.opencontainers.image.description=$description" \
		--label "org.opencontainers.image.version=$version" \
		--label "org.opencontainers.image.revision=$revision" \
		--label "org.opencontainers.image.created=$(date --utc --date="@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)" \
		--label "org.opencontainers.image.licenses=Apache-2.0" \
		--label "org.opencontainers.image.source=${SOURCE_URL:-}" >&2
	echo "$tar"
}

operator() {
	compile --package ukgpro-operator --bin ukgpro-operator
	local bound=()
	if [[ $profile == release ]]; then bound=(--at-most "$at_most"); fi
	write ukgpro-operator ukgpro-operator "Checks, and keeps checking, connections to UKG Pro" "${bound[@]}" \
		--file "/etc/ssl/certs/ca-certificates.crt=$ca_certificates"
}

simulator() {
	compile --package ukgpro-simulator --bin ukgpro-simulator
	write ukgpro-simulator ukgpro-simulator "Stands in for UKG Pro's web services, for tests"
}

mkdir -p "$out"
(cd image && CGO_ENABLED=0 go build -trimpath -buildvcs=false -o "$out/image" .)
for what in "${@:-operator simulator}"; do
	for name in $what; do
		case $name in
		operator | simulator) "$name" ;;
		*) fail "$name is neither operator nor simulator" ;;
		esac
	done
done
