# What people and CI run. `make help` lists the targets.

CARGO ?= cargo
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= /etc/systemd/system
DESTDIR ?=
# What is built in besides: `make install FEATURES=kafka` for sources of type ncmp. The packages have it.
FEATURES ?=
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
TEST_PYTHON := $(TARGET_DIR)/test-python
# What the packages hold besides the program and the files of this folder; Cargo.toml names it.
GENERATED := $(TARGET_DIR)/release/package

.PHONY: help build test test-deps fmt lint docs bench demo deb install uninstall
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build the program
	$(CARGO) build --release --locked --features '$(FEATURES)'

test: test-deps ## Everything a change must pass: format, lints, tests
	@echo "== format"
	$(CARGO) fmt --check
	@echo "== lints"
	$(CARGO) clippy --locked --all-targets --all-features -- -D warnings
	$(CARGO) clippy --locked -- -D warnings
	@echo "== tests"
	@HEM_TEST_PYTHON="$$(cat $(TEST_PYTHON))"; export HEM_TEST_PYTHON; \
	if $(CARGO) nextest --version >/dev/null 2>&1; then \
		echo "$(CARGO) nextest run --locked --all-features"; \
		$(CARGO) nextest run --locked --all-features; \
	else \
		echo "$(CARGO) test --locked --all-features --no-fail-fast"; \
		$(CARGO) test --locked --all-features --no-fail-fast --lib --bins --tests; \
	fi

test-deps: ## Install what the tests need and is missing
	@tests/install-tools $(TEST_PYTHON)

fmt: ## Format the sources
	$(CARGO) fmt

lint: ## The lints alone, of both builds: with everything and as `make build` does it
	$(CARGO) clippy --locked --all-targets --all-features -- -D warnings
	$(CARGO) clippy --locked -- -D warnings

docs: ## Make the generated pages and schemas anew
	HEM_UPDATE_DOCS=1 $(CARGO) test --locked --lib reference
	$(CARGO) run --locked --quiet -- schema hook > $(TARGET_DIR)/hook.schema.json
	mv $(TARGET_DIR)/hook.schema.json docs/schema/hook.schema.json

bench: ## Run the benchmarks; docs/benchmarks.md says what they measure
	$(CARGO) bench --locked --all-features

demo: ## Show everything in one process
	$(CARGO) run --release --locked -- demo

deb: FEATURES := kafka
deb: build ## Build the Debian packages hem and hem-opennebula; installs cargo-deb if it is missing
	$(CARGO) deb --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deb
	rm -rf $(GENERATED)
	install -d $(GENERATED)/man
	$(TARGET_DIR)/release/hem man --dir $(GENERATED)/man
	$(TARGET_DIR)/release/hem completions bash > $(GENERATED)/hem.bash
	$(TARGET_DIR)/release/hem completions zsh > $(GENERATED)/_hem
	$(TARGET_DIR)/release/hem completions fish > $(GENERATED)/hem.fish
	$(CARGO) deb --locked --no-build --output $(TARGET_DIR)/debian/
	$(CARGO) deb --locked --no-build --variant opennebula --output $(TARGET_DIR)/debian/

install: build ## Install under DESTDIR and PREFIX; nothing of yours in /etc is replaced
	install -D -m 755 $(TARGET_DIR)/release/hem $(DESTDIR)$(PREFIX)/bin/hem
	install -d -m 755 $(DESTDIR)$(SYSCONFDIR)/hem $(DESTDIR)$(SYSCONFDIR)/hem/hooks.d $(DESTDIR)$(SYSCONFDIR)/hem/scripts
	test -e $(DESTDIR)$(SYSCONFDIR)/hem/hem.yaml || install -m 644 packaging/hem.yaml $(DESTDIR)$(SYSCONFDIR)/hem/hem.yaml
	install -d -m 755 $(DESTDIR)$(UNITDIR)
	sed 's|^ExecStart=/usr/bin/hem|ExecStart=$(PREFIX)/bin/hem|; s|^ExecReload=/usr/bin/hem|ExecReload=$(PREFIX)/bin/hem|' packaging/hem.service > $(DESTDIR)$(UNITDIR)/hem.service
	chmod 644 $(DESTDIR)$(UNITDIR)/hem.service
	install -d -m 755 $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	$(TARGET_DIR)/release/hem completions bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/hem
	$(TARGET_DIR)/release/hem man --dir $(DESTDIR)$(PREFIX)/share/man/man1

uninstall: ## Remove what `install` put there, but for /etc/hem and the store
	rm -f $(DESTDIR)$(PREFIX)/bin/hem $(DESTDIR)$(UNITDIR)/hem.service
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/hem $(DESTDIR)$(PREFIX)/share/man/man1/hem*.1
