#!/usr/bin/env bash
# Runs SOAP clients that nobody here wrote against the simulator: what they know of the services is its WSDL. Called by ../run.sh; alone:
# SIMULATOR_BINARY=target/debug/ukgpro-simulator tests/oracles/clients/run.sh
#
# Versions and checksums are in the files beside this one. What is downloaded is kept under Cargo's target directory; nothing is installed.
# Ends with a table of what each client did, and with 1 if one did something else. PHP is left out where Debian does not have its packages.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
: "${SIMULATOR_BINARY:?the path of ukgpro-simulator}"
SIMULATOR_BINARY=$(realpath "$SIMULATOR_BINARY")
cache=${CARGO_TARGET_DIR:-$root/target}/oracles/clients
# More than each takes on a busy machine and a slow network.
download_minutes=10
client_minutes=4
start_seconds=30
lock_minutes=30

program=clients
# shellcheck source=../../support/build.sh
source "$here/../../support/build.sh"
simulator=
status=0
table=

# In place of the shared one: the simulator ends too.
finish() {
	if [[ -n $running ]] && kill -TERM "$running" 2>/dev/null; then wait "$running" || true; fi
	if [[ -n $simulator ]] && kill -TERM "$simulator" 2>/dev/null; then wait "$simulator" 2>/dev/null || true; fi
	if [[ -n $staging ]]; then rm -rf "$staging"; fi
}

key() { cat "$@" | sha256sum | cut -c1-12; }

download() {
	say "downloading $1"
	stage
}

# The client's own package is built from source, by the pinned setuptools.
fetch_python() {
	download "zeep and ultipro, 10 MB"
	run "$download_minutes" python3 -m venv "$staging" >&2
	run "$download_minutes" "$staging/bin/python" -m pip install --quiet --require-hashes --requirement "$here/python/requirements.txt" >&2 &&
		run "$download_minutes" "$staging/bin/python" -m pip install --quiet --require-hashes --no-deps --no-build-isolation \
			--requirement "$here/python/ultipro.txt" >&2 || fail "pip could not install what python/ has pinned"
	publish "$1"
}

fetch_soap() {
	download "the npm package soap, 10 MB"
	cp "$here"/soap/package*.json "$staging"
	run "$download_minutes" npm ci --prefix "$staging" --ignore-scripts --no-audit --no-fund --loglevel=error >&2 ||
		fail "npm could not install what soap/package-lock.json has pinned"
	publish "$1"
}

fetch_cxf() {
	download "Apache CXF, 50 MB with Maven's plugin"
	run "$download_minutes" mvn --batch-mode --quiet --strict-checksums --file "$here/cxf/pom.xml" -Dmaven.repo.local="$cache/m2" \
		org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies -DoutputDirectory="$staging" >&2 ||
		fail "Maven could not get the jars"
	(cd "$staging" && sha256sum --check --quiet --strict "$here/cxf/jars.sha256" && [[ $(ls | wc -l) == $(wc -l <"$here/cxf/jars.sha256") ]]) >&2 ||
		fail "the jars are not those of cxf/jars.sha256"
	publish "$1"
}

fetch_php() {
	local name version sum
	download "PHP, 13 MB"
	mkdir "$staging/packages"
	# As root, apt would become a user that cannot write here.
	(cd "$staging/packages" && run "$download_minutes" apt-get -qq -o APT::Sandbox::User=root download \
		$(awk '!/^#/ { print $1 "=" $2 }' "$here/php/packages.txt")) >&2 || return 1
	while read -r name version sum; do
		[[ $name != \#* ]] || continue
		echo "$sum  $(echo "$staging/packages/${name}_"*.deb)"
	done <"$here/php/packages.txt" | sha256sum --check --quiet >&2 || return 1
	for name in "$staging"/packages/*.deb; do dpkg-deb --extract "$name" "$staging"; done
	rm -r "$staging/packages"
	publish "$1"
}

# The simulator ends with the pipe, and so with this script however it ends.
start_simulator() {
	local second
	exec {hold}> >(exec "$SIMULATOR_BINARY" --config "$here/tenants.yaml" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 \
		--ca-out "$state/ca.pem" --exit-when-stdin-closes >"$state/ready" 2>"$state/simulator.log")
	simulator=$!
	for ((second = 0; second < start_seconds * 10; second++)); do
		if [[ -s $state/ready ]]; then return; fi
		kill -0 "$simulator" 2>/dev/null || break
		sleep 0.1
	done
	cat "$state/simulator.log" >&2
	fail "the simulator did not start"
}

ready() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$state/ready" "$1"; }

# control METHOD PATH [FILE]: the simulator's control API.
control() {
	python3 - "$(ready admin)$2" "$1" "${3:-}" <<-'PYTHON'
		import sys, urllib.request
		url, method, file = sys.argv[1:]
		data = open(file, "rb").read() if file else None
		direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
		sys.stdout.write(direct.open(urllib.request.Request(url, data, method=method), timeout=30).read().decode())
	PYTHON
}

# client NAME EXPECTED PROGRAM ARGUMENT...: its last line has to be the one expected, and the simulator may have noted nothing.
client() {
	local name=$1 expected=$2 got noted
	shift 2
	say "running $name"
	control DELETE /counters
	# In a subshell its end would not be seen by finish.
	run "$client_minutes" "$@" >"$state/out" 2>"$state/err" || echo "ended with $?" >>"$state/out"
	got=$(tail -n 1 "$state/out")
	noted=$(control GET /counters | python3 -c 'import json, sys; print("; ".join(json.load(sys.stdin)["strictness"]))')
	if [[ $got != "$expected" || -n $noted ]]; then
		status=1
		say "$name differs; expected: $expected"
		tail -n 40 "$state/err" >&2
		got="DIFFERS: $got${noted:+; noted: $noted}"
	fi
	table+="$name|$got"$'\n'
}

java_run() { java -Djavax.net.ssl.trustStore="$state/trust.p12" -Djavax.net.ssl.trustStorePassword=changeit "$@"; }

# A client made from the WSDL of the simulator as it is now.
cxf_find() {
	local service
	mkdir "$state/generated" "$state/classes"
	keytool -importcert -noprompt -alias ca -file "$CA_FILE" -keystore "$state/trust.p12" -storetype PKCS12 -storepass changeit
	for service in LoginService=login EmployeePerson=person; do
		# Without -exsh a generated login takes no credentials: WCF declares headers in a message of their own.
		java_run -cp "$cxf/*" org.apache.cxf.tools.wsdlto.WSDLToJava -exsh true -d "$state/generated" -p "${service#*=}" \
			"$BASE/${service%=*}?wsdl"
	done
	find "$state/generated" -name '*.java' >"$state/sources"
	javac -nowarn -cp "$cxf/*" -d "$state/classes" "@$state/sources" "$here/cxf/Find.java"
	java_run -cp "$state/classes:$cxf/*" Find
}
if [[ ${1:-} == --cxf-find ]]; then
	set -x
	cxf_find
	exit
fi

for name in flock sha256sum timeout python3 node npm java javac keytool mvn; do
	command -v "$name" >/dev/null || fail "$name is needed"
done
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
exec {lock}>"$cache/.lock"
flock --wait $((lock_minutes * 60)) "$lock" || fail "another run does not end"

python=$cache/python-$(key "$here"/python/*.txt)
[[ -d $python ]] || fetch_python "$python"
soap=$cache/soap-$(key "$here"/soap/package*.json)
[[ -d $soap ]] || fetch_soap "$soap"
cxf=$cache/cxf-$(key "$here/cxf/pom.xml" "$here/cxf/jars.sha256")
[[ -d $cxf ]] || fetch_cxf "$cxf"
php=$cache/php-$(key "$here/php/packages.txt")
if [[ ! -d $php ]]; then
	{ command -v apt-get && command -v dpkg-deb && fetch_php "$php"; } >/dev/null || php=
fi
# What other versions have left, and runs that were killed.
for left in "$cache"/{python,soap,cxf,php}-* "$cache"/staging.*; do
	[[ $left == "$python" || $left == "$soap" || $left == "$cxf" || $left == "$php" || $left == "$staging" ]] || rm -rf "$left"
done

state=$cache/run
rm -rf "$state"
mkdir -m 700 "$state"
start_simulator
port=$(ready https)
export BASE=https://localhost:${port##*:}/services CA_FILE=$state/ca.pem
# As in tenants.yaml.
export CUSTOMER_API_KEY=ACME1 USERNAME=svc-acme PASSWORD="correct<horse>&'battery" USER_API_KEY=AK4TQ0ZL81XA
export NO_PROXY=localhost no_proxy=localhost PYTHONDONTWRITEBYTECODE=1

refused="a wrong token: An error occurred when verifying security for the message."
found="Ok Candlewick,Gumblewick (cosmo.candlewick@example.com, 000003) of 4; $refused"
python_run() {
	local name=$1 expected=$2
	client "$name" "$expected" env REQUESTS_CA_BUNDLE="$CA_FILE" PYTHONPATH="$here/python/unused" "$python/bin/python" "$here/python/$3"
}
python_run "the answers, by the schemas, as lxml reads them" "14 answers of 5 services are valid" validate.py
version() { awk -F'[= ]+' -v name="$2" '$1 == name { print $2; exit }' "$1"; }
python_run "zeep $(version "$here/python/requirements.txt" zeep)" "$found" zeep_find.py
client "Apache CXF $(sed -n 's/.*<cxf.version>\(.*\)<.*/\1/p' "$here/cxf/pom.xml"), wsdl2java" "$found" \
	env state="$state" cxf="$cxf" bash "${BASH_SOURCE[0]}" --cxf-find
client "soap $(sed -n 's/.*"soap": "\(.*\)".*/\1/p' "$here/soap/package.json") on Node.js" "$found" \
	env NODE_PATH="$soap/node_modules" NODE_EXTRA_CA_CERTS="$CA_FILE" node "$here/soap/find.js"
if [[ -n $php ]]; then
	client "SoapClient of PHP $(awk '$1 ~ /-soap$/ { print $2 }' "$here/php/packages.txt")" "$found" \
		env LD_LIBRARY_PATH="$(echo "$php"/usr/lib/*-linux-gnu)" "$(echo "$php"/usr/bin/php8*)" -n \
		-d extension_dir="$(echo "$php"/usr/lib/php/2*)" -d extension=dom -d extension=soap "$here/php/find.php"
else
	table+="SoapClient of PHP|left out: apt-get could not get the packages of php/packages.txt, or they are others"$'\n'
fi
ultipro="ultipro $(version "$here/python/ultipro.txt" ultipro), written for UKG Pro"
python_run "$ultipro" "Candlewick,Gumblewick; $refused" ultipro_find.py
# The real WSDL of a data service may declare no headers.
sed '$a tokenHeadersInWsdl: false' "$here/tenants.yaml" >"$state/undeclared.yaml"
control PUT /config "$state/undeclared.yaml"
python_run "$ultipro; token headers not in the WSDL" "Candlewick,Gumblewick; $refused" ultipro_find.py

printf '%s' "$table" | awk -F'|' '{ printf "%-66s %s\n", $1, $2 }'
exit "$status"
