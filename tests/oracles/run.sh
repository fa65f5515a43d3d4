#!/usr/bin/env bash
# Runs the operator against peers that nobody here wrote: hosts on WCF and on CXF (stacks.py), TLS servers of OpenSSL's (tls.py), and, where clients/run.sh is there, what
# it brings. Called by `make oracles`, which builds the operator.
#
# What is downloaded and built is kept under Cargo's target directory. Nothing is installed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
: "${OPERATOR_BINARY:?run this by make oracles}"
OPERATOR_BINARY=$(realpath "$OPERATOR_BINARY")
export OPERATOR_BINARY
cache=${CARGO_TARGET_DIR:-$root/target}/oracles
# More than each takes on a busy machine and a slow network.
download_minutes=15
run_minutes=20

program=oracles
# shellcheck source=../support/build.sh
source "$here/../support/build.sh"

require() {
	local name
	for name in "$@"; do
		command -v "$name" >/dev/null || fail "$name is needed; README.md says which package has it"
	done
}

key() { cat "$@" | sha256sum | cut -c1-12; }

# Debian's packages, unpacked and not installed: name, version and checksum of each are in packages.txt.
fetch_mono() {
	local name version sum
	say "downloading Mono, 10 MB"
	stage
	mkdir "$staging/packages"
	# As root, apt would become a user that cannot write here.
	run "$download_minutes" env --chdir="$staging/packages" apt-get -qq -o APT::Sandbox::User=root download \
		$(awk '!/^#/ { print $1 "=" $2 }' "$here/wcf/packages.txt") >&2 ||
		fail "apt-get could not download the packages of wcf/packages.txt; apt-get update may help, or Debian has newer ones"
	while read -r name version sum; do
		[[ $name != \#* ]] || continue
		echo "$sum  $(echo "$staging/packages/${name}_"*.deb)"
	done <"$here/wcf/packages.txt" | sha256sum --check --quiet >&2 || fail "a package has not the checksum of wcf/packages.txt"
	for name in "$staging"/packages/*.deb; do dpkg-deb --extract "$name" "$staging"; done
	rm -r "$staging/packages"
	publish "$1"
}

mono() { MONO_GAC_PREFIX=$mono/usr MONO_CFG_DIR=$mono/etc LD_LIBRARY_PATH=$mono/usr/lib "$mono/usr/bin/mono-sgen" "$@"; }

build_wcf() {
	stage
	mono "$mono/usr/lib/mono/4.5/mcs.exe" -nologo -warnaserror -out:"$staging/host.exe" \
		-r:System.ServiceModel.dll -r:System.Runtime.Serialization.dll "$here/wcf/Host.cs" >&2 || fail "the WCF host does not compile"
	publish "$1"
}

build_cxf() {
	say "building the CXF host; the first time downloads 40 MB"
	stage
	run "$download_minutes" mvn --batch-mode --quiet -Dstyle.color=never --strict-checksums --file "$here/cxf/pom.xml" \
		-Dmaven.repo.local="$cache/m2" -Doracle.target="$staging" process-classes >&2 || fail "the CXF host cannot be built"
	diff <(cd "$staging/lib" && sha256sum -- *.jar) "$here/cxf/jars.sha256" >&2 || fail "the jars are not those of cxf/jars.sha256"
	publish "$1"
}

# A certificate authority that nobody else has, and a certificate, in the forms that the operator, the front, Mono and Java read.
certify() {
	openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=oracles" -addext basicConstraints=critical,CA:TRUE \
		-addext keyUsage=critical,keyCertSign -keyout ca.key -out ca.crt &&
		openssl req -newkey rsa:2048 -nodes -subj "/CN=host" -keyout host.key -out host.csr &&
		openssl x509 -req -in host.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out host.crt -extfile <(
			echo subjectAltName=DNS:service4.ultipro.localhost
			echo basicConstraints=critical,CA:FALSE
			echo keyUsage=critical,digitalSignature,keyEncipherment
			echo extendedKeyUsage=serverAuth
		) &&
		openssl x509 -in host.crt -outform DER -out host.cer &&
		openssl rsa -in host.key -outform PVK -pvk-none -out host.pvk &&
		openssl pkcs12 -export -in host.crt -inkey host.key -passout pass:oracle -out host.p12
}

# jar NAME: the version of a jar of the CXF host.
jar() { basename "$cxf/lib/$1-"[0-9]*.jar .jar | sed "s/^$1-//"; }

require flock sha256sum timeout apt-get dpkg-deb java mvn openssl python3
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
exec {lock}>"$cache/.lock"
flock --wait $((run_minutes * 60)) "$lock" || fail "another run does not end"

mono=$cache/mono-$(key "$here/wcf/packages.txt")
[[ -d $mono ]] || fetch_mono "$mono"
wcf=$cache/wcf-$(key "$here/wcf/packages.txt" "$here/wcf/Host.cs")
[[ -d $wcf ]] || build_wcf "$wcf"
cxf=$cache/cxf-$(key "$here/cxf/pom.xml" "$here/cxf/jars.sha256" "$here"/cxf/src/main/java/oracle/*.java)
[[ -d $cxf ]] || build_cxf "$cxf"
# What other versions have left, and runs that were killed.
for left in "$cache"/{mono,wcf,cxf}-* "$cache"/staging.*; do
	[[ $left == "$mono" || $left == "$wcf" || $left == "$cxf" ]] || rm -rf "$left"
done
state=$cache/run
rm -rf "$state"
mkdir -m 700 "$state"
(cd "$state" && certify) 2>"$cache/openssl.log" || fail "openssl made no certificates; see $cache/openssl.log"

ORACLE_MONO=$mono
ORACLE_WCF=$wcf
ORACLE_CXF=$cxf
ORACLE_VERSIONS="Mono $(awk '$1 == "mono-runtime-sgen" { print $2 }' "$here/wcf/packages.txt") of Debian; Apache CXF $(jar cxf-core) with \
Jetty $(jar jetty-server), JAXB $(jar jaxb-runtime) and Woodstox $(jar woodstox-core)."
export ORACLE_MONO ORACLE_WCF ORACLE_CXF ORACLE_VERSIONS PYTHONDONTWRITEBYTECODE=1
status=0
run "$run_minutes" python3 "$here/stacks.py" "$OPERATOR_BINARY" "$state" "$root/docs/stacks.md" || status=1
run "$run_minutes" python3 "$here/tls.py" "$OPERATOR_BINARY" "$state" "$root/docs/tls.md" || status=1
# It may want to keep something in the same place.
exec {lock}>&-
if [[ -x $here/clients/run.sh ]]; then "$here/clients/run.sh" || status=1; fi
exit "$status"
