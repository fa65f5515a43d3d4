# syntax=docker/dockerfile:1
# The same image as `make image` makes, for those who build with Docker or BuildKit:
#
#   docker build --tag ukgpro-operator .
#   docker buildx build --platform linux/amd64,linux/arm64 --tag ukgpro-operator .
#   docker build --build-arg PROGRAM=ukgpro-simulator --target ukgpro-simulator --tag ukgpro-simulator .
#
# Arguments: PROGRAM (ukgpro-operator, ukgpro-simulator), PROFILE (release, dev), and for the labels VERSION, REVISION,
# CREATED and SOURCE_URL. For an image that is the same to the byte wherever it is built, use `make image`.

# Of the machine that builds: another platform is compiled for, not emulated.
FROM --platform=$BUILDPLATFORM rust:1.95-bookworm AS build
ARG TARGETARCH
ARG PROGRAM=ukgpro-operator
ARG PROFILE=release
WORKDIR /src
# The C compiler is for aws-lc and jemalloc, and the libraries beside it for a static glibc.
RUN <<SETUP
set -eu
case "$TARGETARCH" in
amd64) triple=x86_64-unknown-linux-gnu gcc=x86-64-linux-gnu libc=libc6-dev-amd64-cross ;;
arm64) triple=aarch64-unknown-linux-gnu gcc=aarch64-linux-gnu libc=libc6-dev-arm64-cross ;;
*) echo "there is no build for $TARGETARCH" >&2; exit 1 ;;
esac
echo "$triple" >/triple
rustup target add "$triple"
if [ "$(dpkg --print-architecture)" != "$TARGETARCH" ]; then
	apt-get update
	apt-get install --yes --no-install-recommends "gcc-$gcc" "$libc"
fi
SETUP
COPY Cargo.toml Cargo.lock ./
COPY .cargo/config.toml .cargo/
COPY src src
COPY crates crates
COPY benches benches
RUN --mount=type=cache,target=/usr/local/cargo/registry <<BUILD
set -eu
triple=$(cat /triple)
export RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=/src=. --remap-path-prefix=/usr/local/cargo=cargo"
if [ "$(dpkg --print-architecture)" != "$TARGETARCH" ]; then
	under=$(echo "$triple" | tr - _)
	upper=$(echo "$under" | tr a-z A-Z)
	gcc=$(echo "$triple" | sed 's/-unknown//')-gcc
	export "CC_$under=$gcc" "CARGO_TARGET_${upper}_LINKER=$gcc"
fi
cargo build --locked --profile "$PROFILE" --target "$triple" --package "$PROGRAM" --bin "$PROGRAM"
install -D "target/$triple/$(echo "$PROFILE" | sed 's/^dev$/debug/')/$PROGRAM" "/image/$PROGRAM"
if [ "$PROGRAM" = ukgpro-operator ]; then
	install -D --mode 444 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt
fi
BUILD

FROM scratch AS files
ARG VERSION
ARG REVISION
ARG CREATED
ARG SOURCE_URL
LABEL org.opencontainers.image.version=$VERSION \
	org.opencontainers.image.revision=$REVISION \
	org.opencontainers.image.created=$CREATED \
	org.opencontainers.image.source=$SOURCE_URL \
	org.opencontainers.image.licenses=Apache-2.0
COPY --from=build /image /
USER 65532:65532
WORKDIR /

# ENTRYPOINT takes no argument in the form without a shell, hence a stage for each program.
FROM files AS ukgpro-simulator
ENTRYPOINT ["/ukgpro-simulator"]

FROM files AS ukgpro-operator
ENTRYPOINT ["/ukgpro-operator"]
