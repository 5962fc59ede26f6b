# The one front door. `make help` lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CARGO := cargo
# The tests' own tools and cached root filesystems; never part of what is shipped.
BUILD_DIR := .build
# The fuzz targets' smoke run is one of the unit tests, and needs doors that nothing shipped has.
WITH_FUZZ := --features countersign-fuzz/targets
CARGO_DENY_VERSION := 0.20.2
SCRIPTS := .ci/run tests/run tests/lab/private tests/lab/enter tests/lab/pytest tests/lab/bench tests/lab/rootfs tests/packages/run tests/packages/all tests/packages/previous tests/packages/rpm tests/packages/dist packaging/dist \
  packaging/install-deps packaging/check-rust packaging/check-man packaging/rpm/build packaging/rpm/third-party debian/build fuzz/build fuzz/run demo/run demo/inside demo/pairing
SCRIPTS += packaging/build tests/packages/check-deb $(addprefix debian/,libpam-countersign.prerm countersign.postinst countersign.prerm \
  countersign.postrm countersign-server.postrm tests/installed)

.PHONY: help deps deps-tests rust build lint lint-rust lint-web lint-deny lint-scripts lint-man test-fast test test-unit test-web \
  test-e2e test-newer test-greeters test-packages properties fuzz bench screenshots demo deb rpm dist clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## install what building and the demo need (apt-get; does nothing when all is there)
	@packaging/install-deps

deps-tests: ## install what the tests need beside that: browsers, their drivers, proxies
	@packaging/install-deps --tests
	@# Of every system, as a release's tarball has them: no test fetches anything.
	@$(CARGO) fetch --locked --quiet

build: rust ## build the release binaries and the PAM module
	@CARGO="$(CARGO)" packaging/build

lint: lint-rust lint-web lint-scripts lint-man lint-deny ## formatting, clippy, links in comments, the web approver's types, scripts, licences of dependencies

lint-rust: deps
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked $(WITH_FUZZ) -- -D warnings
	@# Links within the comments; what is private is linked, too, and the command line's help has plain addresses.
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links -A rustdoc::bare_urls" \
	  $(CARGO) doc --workspace --no-deps --document-private-items --locked --quiet

lint-web: deps-tests
	tests/web/node_modules/.bin/tsc -p server/web/tsconfig.json
	node tests/web/lint.mjs

lint-scripts: deps
	shellcheck $(SCRIPTS)

lint-man: deps
	packaging/check-man

# The database of advisories needs the network beyond the registry, so it is not part of this.
lint-deny: $(BUILD_DIR)/cargo/bin/cargo-deny
	$< --all-features check licenses bans sources

$(BUILD_DIR)/cargo/bin/cargo-deny: | rust
	@if command -v cargo-deny >/dev/null; then mkdir -p $(@D); ln -sf "$$(command -v cargo-deny)" $@; \
	else $(CARGO) install cargo-deny --version $(CARGO_DENY_VERSION) --locked --root $(BUILD_DIR)/cargo; fi

test-fast: deps-tests ## formatting and the unit tests (10 minutes from nothing on 2 cores)
	$(CARGO) fmt --all --check
	@$(MAKE) test-unit

# Unit tests run unoptimised; the end-to-end tests run what is shipped. Clippy shares the former's build.
test: deps-tests ## everything: unit tests, release build, end-to-end tests (an hour from nothing)
	@$(MAKE) test-unit
	@$(MAKE) build
	@$(MAKE) test-newer
	@$(MAKE) test-greeters
	@$(MAKE) test-packages
	@$(MAKE) test-e2e

test-unit: rust test-web
	COUNTERSIGN_IS_BUILT=yes $(CARGO) test --workspace --locked $(WITH_FUZZ)

test-web: deps-tests ## the web approver's unit tests, in node
	node --test $$(find server/web/tests -name '*.test.*js' | sort)

test-e2e: ## the end-to-end tests alone, on the release build (PYTEST=arguments runs some of them)
	$(if $(PYTEST),tests/run $(PYTEST),tests/all)

properties: rust ## play CASES=100000 stories on the daemon against its model, and attack it, in an optimised build
	COUNTERSIGN_CASES=$(or $(CASES),100000) $(CARGO) test --profile fuzz --locked -p countersignd --lib login::model -- --nocapture

fuzz: deps ## attack every parser for SECONDS=3600 in all, JOBS=1 at once, with one table (TARGETS=names of some)
	@JOBS=$(or $(JOBS),1) fuzz/run $(or $(SECONDS),3600) $(TARGETS)

bench: build ## what it all costs, beside pam_permit and pam_duo: one table (ROWS=names of its parts)
	@packaging/install-deps --bench
	@# With the same flags, so that nothing is built twice.
	CARGO_ENCODED_RUSTFLAGS="$$(packaging/build --flags)" $(CARGO) build --release --locked -p countersign --example bench-peer
	@tests/run --program "$(CURDIR)/tests/lab/bench" $(if $(ROWS),"$(ROWS)")

screenshots: deps-tests ## take the documents' pictures again: of the web approver, of lockers, and of a greeter
	tests/run -m screenshots $(PYTEST)
	@if tests/lab/rootfs bookworm desktop; then \
	  COUNTERSIGN_PICTURES=$(CURDIR)/docs/images tests/run --suite bookworm-desktop test_lightdm.py test_lightdm_switch.py; fi

test-greeters: deps-tests ## a real greeter, LightDM, in a Debian 12 that has it
	@if tests/lab/rootfs bookworm desktop; then tests/run --suite bookworm-desktop test_lightdm.py test_lightdm_switch.py $(PYTEST); \
	else echo "skipped: the greeter (no Debian 12 root filesystem with it, see above)"; fi

test-newer: ## the tests that depend on OpenSSH and polkit, with those of Debian 13
	@if tests/lab/rootfs trixie; then \
	  tests/run --suite trixie -m 'openssh or polkit' $$(cd tests && grep -lE 'mark\.(openssh|polkit)' test_*.py) $(PYTEST); \
	else echo "skipped: the tests with a newer OpenSSH and polkit (no Debian 13 root filesystem, see above)"; fi

test-packages: deb rpm deps-tests ## the packages, and throw-away machines booted with them: Debian 12 and 13 (PYTEST=arguments)
	tests/packages/dist
	tests/packages/check-deb $(BUILD_DIR)/deb
	tests/packages/all $(BUILD_DIR)/deb $(PYTEST)

demo: deps build ## a private lab to try it in; AUTO=1 plays the story alone
	@demo/run

deb: deps build ## build the Debian packages into .build/deb/
	rm -rf $(BUILD_DIR)/deb
	mkdir -p $(BUILD_DIR)/deb
	debian/build $(BUILD_DIR)/deb

rpm: deps build ## build the Fedora and EL packages into .build/rpm/
	@packaging/rpm/build $(BUILD_DIR)/rpm

dist: rust ## a release's source with all crates, its list of components and checksums into .build/dist/
	@packaging/dist

clean: ## remove what was built
	$(CARGO) clean
	rm -rf $(BUILD_DIR) 2>/dev/null || sudo rm -rf $(BUILD_DIR)

# A plain word when Rust is missing or old, instead of a page of errors.
rust:
	@packaging/check-rust
