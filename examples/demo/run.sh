#!/usr/bin/env bash
# Shows how four connections get their verdicts on a real control plane, and how one is corrected.
#
#   run.sh          runs until Ctrl-C and says how to point kubectl at it
#   run.sh --once   ends by itself, and exits with 0 only if every verdict is as expected
#
# Everything runs on loopback and is removed afterwards. `make demo` calls this script, builds what it needs, and sets
# ASSETS (a directory with controlplane and kubectl) and BIN (a directory with the operator and the simulator).
set -euo pipefail

once=false
[[ ${1:-} == --once ]] && once=true
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
demo=examples/demo
: "${ASSETS:?run this by make demo}" "${BIN:?run this by make demo}"
state=$(mktemp -d)
operator=

finish() {
	local status=$?
	trap - EXIT INT TERM
	if [[ -n $operator ]] && kill "$operator" 2>/dev/null; then wait "$operator" || true; fi
	if ((status != 0)) && [[ -s $state/operator.log ]]; then
		echo "The operator's log:" >&2
		tail -n 50 "$state/operator.log" >&2
	fi
	# Closing this pipe ends the control plane and the simulator.
	exec 3>&-
	wait
	rm -rf "$state"
	exit "$status"
}
trap finish EXIT
# Ctrl-C is the normal end of a demo.
trap 'exit 0' INT TERM

# The readers of this pipe end when its last writer ends. The last writer is this script, however it ends.
mkfifo "$state/alive"
exec 3<>"$state/alive"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

# Shows a kubectl command as a user would type it, then runs it.
k() {
	printf '$ kubectl %s\n' "$*"
	"$ASSETS/kubectl" "$@" 3>&-
}

# await FILE PID: waits for the line in which a process says that it is ready.
await() {
	until [[ -s $1 ]]; do
		kill -0 "$2" 2>/dev/null || { echo "$(basename "$1" .json) did not start" >&2; exit 1; }
		sleep 0.1
	done
}

# field FILE NAME: prints a string field of one line of JSON.
field() { sed -n "s/.*\"$2\":\"\([^\"]*\)\".*/\1/p" "$1"; }

say "Starting etcd, kube-apiserver and kube-controller-manager"
"$ASSETS/controlplane" up --until-stdin-closes <"$state/alive" >"$state/control-plane.json" 3>&- &
await "$state/control-plane.json" $!
KUBECONFIG=$(field "$state/control-plane.json" kubeconfig)
export KUBECONFIG
"$ASSETS/kubectl" version 3>&-

say "Starting a simulator of UKG Pro, with its own certificate authority"
"$BIN/ukgpro-simulator" --config "$demo/simulator.yaml" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 \
	--ca-out "$state/ca.crt" --exit-when-stdin-closes --log warn <"$state/alive" >"$state/simulator.json" 3>&- &
await "$state/simulator.json" $!
port=$(field "$state/simulator.json" https)
port=${port##*:}
admin=$(field "$state/simulator.json" admin)
echo "It answers as *.ultipro.localhost on port $port."

say "Installing the resource, and an operator with no more rights than it needs"
k apply -f crds
k wait --for=condition=Established crd/ukgproconnections.ukgpro.dev
k create namespace ukgpro-system
k apply -k config/rbac
# The operator gets a kubeconfig of its own, with its ServiceAccount's token.
(
	umask 077
	cp "$KUBECONFIG" "$state/operator.kubeconfig"
	export KUBECONFIG=$state/operator.kubeconfig
	token=$("$ASSETS/kubectl" create token ukgpro-operator --namespace ukgpro-system --duration 24h 3>&-)
	"$ASSETS/kubectl" config set-credentials operator --token "$token" 3>&- >/dev/null
	"$ASSETS/kubectl" config set-context --current --user operator 3>&- >/dev/null
)
KUBECONFIG=$state/operator.kubeconfig "$BIN/ukgpro-operator" run --allowed-domains 'ultipro.localhost:*' \
	--health-address 127.0.0.1:0 --metrics-address 127.0.0.1:0 --system-namespace ukgpro-system 2>"$state/operator.log" 3>&- &
operator=$!

say "Applying four Secrets and four connections"
k create namespace hr-integrations
k create configmap simulator-ca --namespace hr-integrations --from-file=ca.crt="$state/ca.crt"
sed "s/localhost:8443/localhost:$port/" "$demo/connections.yaml" >"$state/connections.yaml"
k apply -f "$state/connections.yaml"

verdict() { k wait --namespace hr-integrations --for=jsonpath="{.status.state}=$2" "ukg/$1" --timeout=60s; }
say "Waiting for the verdicts"
verdict acme Active
verdict globex Unauthorized
verdict initech Forbidden
verdict hooli Unreachable
echo
k get ukg --namespace hr-integrations
echo
k describe ukg globex --namespace hr-integrations

say "Somebody puts the new password into the Secret"
k apply -f "$demo/corrected-secret.yaml"
verdict globex Active
echo
k get ukg --namespace hr-integrations -o wide

$once && exit 0
say "It stays up until Ctrl-C. In another terminal:"
cat <<TEXT
  export KUBECONFIG=$KUBECONFIG
  export PATH=$ASSETS:\$PATH
  kubectl get ukg --namespace hr-integrations --watch
  curl $admin/counters        # what the simulator has been asked
  tail -f $state/operator.log
TEXT
wait "$operator"
