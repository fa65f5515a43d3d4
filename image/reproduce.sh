#!/usr/bin/env bash
# Builds the images of the last commit again, in another directory and from nothing, and compares them with those that
# build.sh has made: fails unless the tars are the same to the byte. Takes as long as a release build.
#
#   reproduce.sh TAR...     tars that build.sh has printed, made from a clean checkout of the same commit
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
(($#)) || {
	echo "usage: reproduce.sh TAR..." >&2
	exit 2
}
[[ -z $(git -C "$root" status --porcelain) ]] || {
	echo "reproduce: there are changes that are not committed, which the other build would not have" >&2
	exit 1
}

elsewhere=$(mktemp -d)
finish() {
	git -C "$root" worktree remove --force "$elsewhere/a-much-longer-path/checkout" 2>/dev/null || true
	rm -rf "$elsewhere"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

git -C "$root" worktree add --quiet --detach "$elsewhere/a-much-longer-path/checkout" HEAD
status=0
for tar in "$@"; do
	name=$(basename "$tar")
	what=${name#ukgpro-}
	again=$(CARGO_TARGET_DIR=$elsewhere/target "$elsewhere/a-much-longer-path/checkout/image/build.sh" "${what%%-*}")
	if cmp "$tar" "$again"; then
		echo "reproduce: $name is the same"
	else
		echo "reproduce: $name differs" >&2
		status=1
	fi
done
exit "$status"
