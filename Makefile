# `make help` lists the targets. A target that needs a control plane builds it once, from Kubernetes' own Go modules.

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
CONTROL_PLANE := tests/controlplane/build.sh
TOOLS := tests/tools/build.sh
FUZZ_SECONDS ?= 60
SOAK_MINUTES ?= 60

.DEFAULT_GOAL := help
.PHONY: help build book reference demo demo-once test lint unit e2e e2e-flux e2e-node gitops oracles chart chart-docs manifests image image-reproducible sbom deny mutants test-faults soak bench bench-code fuzz control-plane crd doc clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build the operator and the simulator
	$(CARGO) build --locked --workspace --bins

demo: build ## Show four connections and their verdicts on a real control plane; runs until Ctrl-C
	@assets=$$($(CONTROL_PLANE)) && ASSETS="$$assets" BIN="$(abspath $(TARGET_DIR))/debug" examples/demo/run.sh

demo-once: build ## The same demo, which ends by itself; fails unless every verdict is as expected
	@assets=$$($(CONTROL_PLANE)) && ASSETS="$$assets" BIN="$(abspath $(TARGET_DIR))/debug" examples/demo/run.sh --once

# The control plane is by far the longest build, so it starts first and runs in parallel with the others. Then follows helm. build.sh holds a
# lock and reports its progress.
test: ## Check formatting, lints and docs, and run all tests
	@{ $(CONTROL_PLANE) && $(TOOLS); } >/dev/null & building=$$!; \
	$(MAKE) --no-print-directory lint unit; status=$$?; \
	wait $$building && [ $$status = 0 ]
	$(MAKE) --no-print-directory gitops e2e chart book

lint: ## Run rustfmt, clippy and rustdoc, with warnings denied
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items

unit: ## Run the tests that need no control plane, including those of CRD drift
	$(CARGO) test --locked --package ukg-pro --package ukgpro-simulator
	$(CARGO) test --locked --lib --bins --test check --test crd --test docs --test house --test memory --test names --test reference --test states --test transport --test versions
	$(CARGO) test --locked --doc

e2e: ## Run the tests on a real control plane; USE_KUBECONFIG=1 uses the cluster of KUBECONFIG
	$(CARGO) test --locked --test e2e
	$(CARGO) test --locked --test faults -- --brief
	@assets=$$($(CONTROL_PLANE)) && cd tests/controlplane && CONTROLPLANE_ASSETS="$$assets" go test ./supervisor
	cd image && go test .
	cd release/prune && go test .

# mdBook only prints warnings and continues. Here a warning is an error. tests/docs.rs follows the links.
MDBOOK := $(TARGET_DIR)/tools/mdbook-0.5.4
book: ## Build the book of docs/, in target/book
	@[ -x $(MDBOOK)/bin/mdbook ] || $(CARGO) install --quiet --locked --no-default-features --features search --version 0.5.4 --root $(MDBOOK) mdbook
	@said=$$($(MDBOOK)/bin/mdbook build docs --dest-dir "$(abspath $(TARGET_DIR))/book" 2>&1) || { echo "$$said"; exit 1; }; \
	case "$$said" in *WARN*|*ERROR*) echo "$$said"; exit 1 ;; esac
	@echo "$(abspath $(TARGET_DIR))/book/index.html"

reference: ## Generate the pages of docs/reference from the code and the chart
	WRITE_REFERENCE=1 $(CARGO) test --locked --test reference
	WRITE_REFERENCE=1 WRITE_TYPICAL=1 $(CARGO) test --locked --lib -- the_reference_names the_typical_connection

e2e-node: ## Test the chart and the images (or IMAGES="TAR...") in Pods on kubelet and containerd; needs root
	@images=$${IMAGES:-$$(image/build.sh)} && tools=$$(tests/tools/build.sh) && IMAGES="$$images" HELM="$$tools/helm" tests/node/run.sh

chart: ## Render, validate and release the Helm chart and config/, and run the operator with their rights
	$(CARGO) test --locked --test chart

chart-docs: ## Generate the chart's README from its values
	@tools=$$($(TOOLS)) && "$$tools/helm-docs" --chart-search-root charts --sort-values-order file --log-level warning

manifests: ## Generate config/, for Kustomize, from the chart, and the other files that come from the CRD and the catalogue
	WRITE_MANIFESTS=1 $(CARGO) test --locked --test chart -- config_is_what_the_chart_renders the_chart_knows_the_names the_example_has_the_schema

test-faults: ## Inject every fault of docs/faults.md on a real control plane; takes some minutes
	$(CARGO) test --locked --test transport --test memory
	$(CARGO) test --locked --test e2e -- leadership:: guard:: hosts::
	$(CARGO) test --locked --test faults

soak: ## Run churn for SOAK_MINUTES (60); fails on memory growth, a wrong verdict or an extra login
	SOAK_MINUTES=$(SOAK_MINUTES) $(CARGO) test --locked --test soak

# -count=1, because Go would reuse an earlier result although files outside the module have changed.
gitops: ## Test kstatus, Flux's expressions and Argo CD's scripts on a connection in every state
	cd tests/gitops && go test -count=1 ./...

e2e-flux: ## Test connections with Flux's own controllers; the first run builds them, in about ten minutes
	@tests/gitops/flux/build.sh >/dev/null
	$(CARGO) test --locked --test flux

# The first run downloads Mono and CXF.
oracles: ## Test the operator against WCF and CXF and faulty TLS servers; WRITE_STACKS=1 writes docs/stacks.md and docs/tls.md
	$(CARGO) build --locked --workspace --bins
	@bin="$(abspath $(TARGET_DIR))/debug" && OPERATOR_BINARY="$$bin/ukgpro-operator" SIMULATOR_BINARY="$$bin/ukgpro-simulator" tests/oracles/run.sh

image: ## Build container images without a daemon, in target/image. ARCH=arm64, PROFILE=dev, REPOSITORY=... (image/build.sh)
	@images=$$(image/build.sh) && cd image && IMAGES="$$images" go test -count=1 .

image-reproducible: ## Build the images a second time, in another place, and compare
	@image/reproduce.sh $$(image/build.sh)

# Lists only what the operator is linked from, and not the simulator, tests or build scripts.
sbom: ## Write the operator's bill of materials in CycloneDX, in target/sbom
	@release/sbom.sh

# The database of advisories is a Git repository, which not every machine can reach. A release checks advisories too.
DENY ?= bans licenses sources
deny: ## Check licences, bans and sources of what is linked; DENY="advisories bans licenses sources" adds advisories
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked --version 0.20.2 cargo-deny
	$(CARGO) deny --locked --workspace check $(DENY)

# First without the slowest tests, then with all of them for what survived. JOBS=1 needs half the memory.
MUTANTS := $(TARGET_DIR)/mutants
# Some survived (2), or a test did not end (3): the lists say which.
LISTED := case $$? in 2 | 3) ;; *) exit 1 ;; esac
mutants: ## Change the pure modules one expression at a time, and list the changes that no test notices; takes hours
	@command -v cargo-mutants >/dev/null || $(CARGO) install --locked --version 27.1.0 cargo-mutants
	@mkdir -p $(MUTANTS)
	$(CARGO) mutants --output $(MUTANTS)/client --jobs $(or $(JOBS),2) --package ukg-pro || $(LISTED)
	$(CARGO) mutants --output $(MUTANTS)/operator --jobs $(or $(JOBS),2) --package ukgpro-operator -- -- \
		--skip leader_election --skip controller::tests --skip login_guard::tests --skip push_out || $(LISTED)
	$(CARGO) mutants --output $(MUTANTS)/operator --jobs $(or $(JOBS),2) --package ukgpro-operator --iterate || $(LISTED)
	@! cat $(MUTANTS)/*/mutants.out/missed.txt | grep .

bench: ## Compare the operator with a bare client; takes some minutes on an idle machine. BENCH_CONNECTIONS=100,1000
	@$(CONTROL_PLANE) >/dev/null
	$(CARGO) bench --locked --bench scale

bench-code: ## Measure time and allocations of SOAP messages and of a scrape
	$(CARGO) bench --locked --bench metrics --bench soap

# cargo-fuzz needs a nightly compiler beside the one that builds the operator.
fuzz: ## Fuzz each target for FUZZ_SECONDS (60)
	@command -v cargo-fuzz >/dev/null || $(CARGO) install --locked --version 0.13.2 cargo-fuzz
	@for target in $$($(CARGO) +nightly fuzz list); do \
		echo "fuzzing $$target for $(FUZZ_SECONDS) s"; \
		$(CARGO) +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=10 -rss_limit_mb=1024 || exit 1; \
	done

control-plane: ## Build the control plane and print its directory, in the form of KUBEBUILDER_ASSETS
	@$(CONTROL_PLANE)

crd: ## Generate crds/ and the chart's copy from src/api; `make manifests` writes another copy
	$(CARGO) run --locked --quiet --bin ukgpro-operator crd > crds/ukgproconnections.ukgpro.dev.yaml.new
	mv crds/ukgproconnections.ukgpro.dev.yaml.new crds/ukgproconnections.ukgpro.dev.yaml
	cp crds/ukgproconnections.ukgpro.dev.yaml charts/ukgpro-operator/files/crds/

doc: ## Build the documentation of the code; its first page is the map
	$(CARGO) doc --locked --workspace --no-deps --document-private-items
	@echo "$(abspath $(TARGET_DIR))/doc/ukgpro_operator/index.html"

clean: ## Remove everything that was built, including the control plane
	$(CARGO) clean
