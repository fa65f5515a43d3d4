# For scripts that build or download programs once and find them again: progress, a lock, and cleaning up. Sourced, not run.
#
# The caller sets `program` (its name in messages) and `cache` (an absolute directory of its own), and stages what it builds
# in `staging`. What it built has its final name only when it is whole.

running=
staging=

say() { printf '%s: %s\n' "$program" "$*" >&2; }

fail() {
	say "$*"
	exit 1
}

finish() {
	# Bash has what it runs in the background ignore SIGINT.
	if [[ -n $running ]] && kill -TERM "$running" 2>/dev/null; then wait "$running" || true; fi
	if [[ -n $staging ]]; then rm -rf "$staging" || true; fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# run MINUTES PROGRAM ARGUMENT...: in the background, as bash obeys a signal only between two programs.
run() {
	local minutes=$1 status=0
	shift
	timeout --kill-after=10 "${minutes}m" "$@" &
	running=$!
	wait "$running" || status=$?
	running=
	if ((status == 124)); then say "$1 did not end within $minutes minutes"; fi
	return "$status"
}

# need_go: fails where there is no Go.
need_go() { command -v go >/dev/null || fail "Go is needed; the version is in go.mod"; }

# Takes the lock of the cache, or says that it waits.
lock() {
	exec {lock_fd}>"$cache/.lock"
	if flock --nonblock "$lock_fd"; then return; fi
	local started=$SECONDS
	say "waiting for another build"
	until flock --wait 15 "$lock_fd"; do
		say "still waiting for another build, $((SECONDS - started)) s"
	done
}

# stage: an empty directory for what is built, in the cache.
stage() { staging=$(mktemp -d "$cache/staging.XXXXXX"); }

# publish DIRECTORY [FROM]: gives what was staged its final name, and everyone the right to read it, which mktemp denies.
publish() {
	local from=${2:-$staging}
	chmod 755 "$from"
	mv -T "$from" "$1"
	if [[ $from == "$staging" ]]; then staging=; fi
}

# go_build WHAT DIRECTORY FLAG...: compiles in that directory, and says every 15 seconds that it is still at it.
go_build() {
	local what=$1 directory=$2 started=$SECONDS told=$SECONDS status=0
	shift 2
	# Go's scratch files go with the staged ones when it is interrupted and cannot remove them.
	(cd "$directory" && GOTMPDIR=$staging CGO_ENABLED=0 exec go build -trimpath -buildvcs=false "$@") >&2 &
	running=$!
	while kill -0 "$running" 2>/dev/null; do
		# Short, as it also delays a quick build and an interruption.
		sleep 0.2
		if ((SECONDS - told >= 15)); then
			told=$SECONDS
			say "still building $what, $(((SECONDS - started) / 60)) min $(((SECONDS - started) % 60)) s"
		fi
	done
	wait "$running" || status=$?
	running=
	if ((status != 0)); then fail "go build of $what failed"; fi
}

# remove_unused PATTERN MINUTES: removes builds that nobody used for so long, and what killed builds left.
remove_unused() {
	find "$cache" -mindepth 1 -maxdepth 1 -name "$1" -mmin +"$2" -exec rm -rf {} +
	# Only a build that was killed leaves these, and none runs beside this one.
	rm -rf "$cache"/staging.*
}
