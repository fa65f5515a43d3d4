# `make help` lists the targets. Everything that needs a control plane builds one from Kubernetes' own Go modules, once.

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
CONTROL_PLANE := tests/controlplane/build.sh
TOOLS := tests/tools/build.sh
FUZZ_SECONDS ?= 60
SOAK_MINUTES ?= 60

.DEFAULT_GOAL := help
.PHONY: help build book reference demo demo-once test lint unit e2e e2e-flux e2e-node gitops oracles chart chart-docs manifests image image-reproducible sbom deny test-faults soak bench bench-code fuzz control-plane crd doc clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build the operator and the simulator
	$(CARGO) build --locked --workspace --bins

demo: build ## Four connections get their verdicts on a real control plane; stays up until Ctrl-C
	@assets=$$($(CONTROL_PLANE)) && ASSETS="$$assets" BIN="$(abspath $(TARGET_DIR))/debug" examples/demo/run.sh

demo-once: build ## The same, ending by itself; fails unless every verdict is as expected
	@assets=$$($(CONTROL_PLANE)) && ASSETS="$$assets" BIN="$(abspath $(TARGET_DIR))/debug" examples/demo/run.sh --once

# The control plane is by far the longest build, so it goes first and beside the others, then helm; build.sh locks and says how far it is.
test: ## Formatting, lints, docs, and all tests
	@{ $(CONTROL_PLANE) && $(TOOLS); } >/dev/null & building=$$!; \
	$(MAKE) --no-print-directory lint unit; status=$$?; \
	wait $$building && [ $$status = 0 ]
	$(MAKE) --no-print-directory gitops e2e chart book

lint: ## Formatting, clippy and rustdoc, with warnings denied
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items

unit: ## Tests that need no control plane, CRD drift among them
	$(CARGO) test --locked --package ukg-pro --package ukgpro-simulator
	$(CARGO) test --locked --lib --bins --test check --test crd --test docs --test house --test memory --test names --test reference --test states --test transport --test versions
	$(CARGO) test --locked --doc

e2e: ## Tests on a real control plane; USE_KUBECONFIG=1 takes the cluster of KUBECONFIG
	$(CARGO) test --locked --test e2e
	$(CARGO) test --locked --test faults -- --brief
	@assets=$$($(CONTROL_PLANE)) && cd tests/controlplane && CONTROLPLANE_ASSETS="$$assets" go test ./supervisor
	cd image && go test .
	cd release/prune && go test .

# What mdBook complains of it says and goes on; here that is an error. tests/docs.rs follows the links.
MDBOOK := $(TARGET_DIR)/tools/mdbook-0.5.4
book: ## The book of docs/, in target/book
	@[ -x $(MDBOOK)/bin/mdbook ] || $(CARGO) install --quiet --locked --no-default-features --features search --version 0.5.4 --root $(MDBOOK) mdbook
	@said=$$($(MDBOOK)/bin/mdbook build docs --dest-dir "$(abspath $(TARGET_DIR))/book" 2>&1) || { echo "$$said"; exit 1; }; \
	case "$$said" in *WARN*|*ERROR*) echo "$$said"; exit 1 ;; esac
	@echo "$(abspath $(TARGET_DIR))/book/index.html"

reference: ## Generate the pages of docs/reference from code and chart
	WRITE_REFERENCE=1 $(CARGO) test --locked --test reference
	WRITE_REFERENCE=1 $(CARGO) test --locked --lib -- the_reference_names

e2e-node: ## Pods on real nodes: the chart and the images (or IMAGES="TAR...") on kubelet and containerd; needs root
	@images=$${IMAGES:-$$(image/build.sh)} && tools=$$(tests/tools/build.sh) && IMAGES="$$images" HELM="$$tools/helm" tests/node/run.sh

chart: ## The Helm chart and config/: rendered, validated, released, and the operator under its rights
	$(CARGO) test --locked --test chart

chart-docs: ## Generate the chart's README from its values
	@tools=$$($(TOOLS)) && "$$tools/helm-docs" --chart-search-root charts --sort-values-order file --log-level warning

manifests: ## Generate config/, for Kustomize, from the chart, and what else is made from CRD and catalogue
	WRITE_MANIFESTS=1 $(CARGO) test --locked --test chart -- config_is_what_the_chart_renders the_chart_knows_the_names the_example_has_the_schema

test-faults: ## Each fault there is, injected on a real control plane; some minutes. The table is in docs/faults.md
	$(CARGO) test --locked --test transport --test memory
	$(CARGO) test --locked --test e2e -- leadership:: guard:: hosts::
	$(CARGO) test --locked --test faults

soak: ## An hour of churn, SOAK_MINUTES (60): no growth, no wrong verdict, no extra login
	SOAK_MINUTES=$(SOAK_MINUTES) $(CARGO) test --locked --test soak

# Go would find an earlier result good after the files outside the module have changed.
gitops: ## What kstatus, Flux's expressions and Argo CD's scripts make of a connection in every state
	cd tests/gitops && go test -count=1 ./...

e2e-flux: ## Flux's own controllers apply connections; builds them the first time, in some ten minutes
	@tests/gitops/flux/build.sh >/dev/null
	$(CARGO) test --locked --test flux

# Mono and CXF are downloaded the first time.
oracles: ## The operator against SOAP stacks that nobody here wrote; the table is docs/stacks.md, and WRITE_STACKS=1 writes it
	$(CARGO) build --locked --workspace --bins
	@bin="$(abspath $(TARGET_DIR))/debug" && OPERATOR_BINARY="$$bin/ukgpro-operator" SIMULATOR_BINARY="$$bin/ukgpro-simulator" tests/oracles/run.sh

image: ## Container images without a daemon, in target/image. ARCH=arm64, PROFILE=dev, REPOSITORY=... (image/build.sh)
	@images=$$(image/build.sh) && cd image && IMAGES="$$images" go test -count=1 .

image-reproducible: ## Build the images a second time, elsewhere, and compare
	@image/reproduce.sh $$(image/build.sh)

# Of what the operator is linked from, and nothing else: not of the simulator, tests or build scripts.
sbom: ## The operator's bill of materials in CycloneDX, in target/sbom
	@release/sbom.sh

# The database of advisories is a Git repository that not every machine can reach; a release checks them too.
DENY ?= bans licenses sources
deny: ## Licences, banned crates and sources of what is linked; DENY="advisories bans licenses sources" looks for advisories too
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked --version 0.20.2 cargo-deny
	$(CARGO) deny --locked --workspace check $(DENY)

bench: ## The operator beside a bare client; some minutes, and the machine for itself. BENCH_CONNECTIONS=100,1000
	@$(CONTROL_PLANE) >/dev/null
	$(CARGO) bench --locked --bench scale

bench-code: ## Time and allocations of SOAP messages and of a scrape
	$(CARGO) bench --locked --bench metrics --bench soap

# cargo-fuzz needs a nightly compiler beside the one that builds the operator.
fuzz: ## Fuzz each target for FUZZ_SECONDS (60)
	@command -v cargo-fuzz >/dev/null || $(CARGO) install --locked --version 0.13.2 cargo-fuzz
	@for target in $$($(CARGO) +nightly fuzz list); do \
		echo "fuzzing $$target for $(FUZZ_SECONDS) s"; \
		$(CARGO) +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=10 -rss_limit_mb=1024 || exit 1; \
	done

control-plane: ## Build the control plane and print its directory, of the form KUBEBUILDER_ASSETS has
	@$(CONTROL_PLANE)

crd: ## Generate crds/ from src/api, and the chart's copy; `make manifests` has another
	$(CARGO) run --locked --quiet --bin ukgpro-operator crd > crds/ukgproconnections.ukgpro.dev.yaml.new
	mv crds/ukgproconnections.ukgpro.dev.yaml.new crds/ukgproconnections.ukgpro.dev.yaml
	cp crds/ukgproconnections.ukgpro.dev.yaml charts/ukgpro-operator/files/crds/

doc: ## Build the documentation of the code; it opens on the map
	$(CARGO) doc --locked --workspace --no-deps --document-private-items
	@echo "$(abspath $(TARGET_DIR))/doc/ukgpro_operator/index.html"

clean: ## Remove what was built, the control plane included
	$(CARGO) clean
