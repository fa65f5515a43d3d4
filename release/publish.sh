#!/usr/bin/env bash
# Publishes what a build has made: images by digest, signed, with the bill of materials attested; the chart as an OCI
# artifact, signed. Prints what it has published, as lines of NAME@DIGEST. docs/release.md says what comes before.
#
#   publish.sh DIRECTORY     with the tars, the chart and the bill of materials, and their SHA256SUMS
#
# NAMESPACE    where to, such as registry.example.com/ukgpro: the images' REPOSITORY and the chart's parent
# COSIGN_ARGS  how to sign: nothing signs as the person or workflow that runs this (keyless), --key=... by a key
#
# Needs skopeo, docker (buildx) or podman, helm, cosign, and to be logged in to the registry.
set -euo pipefail

directory=${1:?usage: publish.sh DIRECTORY}
: "${NAMESPACE:?where to publish to}"
cd "$directory"
read -ra cosign_args <<<"${COSIGN_ARGS:-}"

say() { printf 'publish: %s\n' "$*" >&2; }

for tool in skopeo docker helm cosign; do
	command -v "$tool" >/dev/null || {
		say "$tool is needed"
		exit 1
	}
done
sha256sum --check --quiet SHA256SUMS
charts=(ukgpro-operator-*.tgz)
version=${charts[0]#ukgpro-operator-}
version=${version%.tgz}
[[ -s ${charts[0]} && ${#charts[@]} == 1 ]] || {
	say "want one chart, and there are ${charts[*]}"
	exit 1
}

# Nobody is to find another image under a version they have seen.
for program in ukgpro-operator ukgpro-simulator; do
	if skopeo inspect --raw "docker://$NAMESPACE/$program:$version" >/dev/null 2>&1; then
		say "$NAMESPACE/$program:$version is there already"
		exit 1
	fi
done

for program in ukgpro-operator ukgpro-simulator; do
	image=$NAMESPACE/$program
	parts=()
	for tar in "$program-$version"-linux-*.tar; do
		skopeo copy --preserve-digests "oci-archive:$tar" "docker://$image:$version-$(basename "${tar##*-}" .tar)" >&2
		parts+=("$image@$(skopeo inspect --format '{{.Digest}}' "oci-archive:$tar")")
	done
	docker buildx imagetools create --tag "$image:$version" "${parts[@]}" >&2
	digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$image:$version")
	# The index and each image in it: clusters verify what they pull.
	cosign sign --yes --recursive "${cosign_args[@]}" "$image@$digest" >&2
	if [[ $program == ukgpro-operator ]]; then
		for part in "${parts[@]}"; do
			cosign attest --yes "${cosign_args[@]}" --type cyclonedx --predicate "ukgpro-operator-$version.cdx.json" "$part" >&2
		done
	fi
	echo "$image@$digest"
done

pushed=$(helm push "${charts[0]}" "oci://$NAMESPACE/charts" 2>&1)
say "$pushed"
digest=$(sed -n 's/^Digest: //p' <<<"$pushed")
[[ $digest == sha256:* ]]
cosign sign --yes "${cosign_args[@]}" "$NAMESPACE/charts/ukgpro-operator@$digest" >&2
echo "$NAMESPACE/charts/ukgpro-operator@$digest"
