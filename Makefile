# Set-up, the two commands, and the checks. Everything runs on the Node that npm installs with the package (26.x).
SHELL := /bin/sh
PATH := $(CURDIR)/node_modules/.bin:$(PATH)
export PATH

.PHONY: demo start test test-fast check bench interop man setup clean

setup: node_modules/.installed

node_modules/.installed: package.json package-lock.json
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

demo: setup
	@bin/farshore demo

start: setup
	@exec bin/farshore server

check: setup
	tsc --noEmit
	oxlint --type-aware --deny-warnings src test bench bin

test: setup check
	node test/run.mjs all

test-fast: setup
	node test/run.mjs fast

interop: setup build/interop-python/.installed
	node test/run.mjs interop

# Other people's clients of the API. Where there is no Python or no package registry their tests say so and skip.
build/interop-python/.installed: test/interop/python/requirements.txt
	@rm -rf build/interop-python
	@if command -v python3 >/dev/null && python3 -m venv build/interop-python && build/interop-python/bin/pip install -q --disable-pip-version-check -r $<; then touch $@; else rm -rf build/interop-python; echo 'make interop: proxmoxer and clientapi-pbs could not be installed, their tests will be skipped' >&2; fi

# Options of bench/run.ts: make bench BENCH='--quick --only large'
bench: setup
	@command -v rsync >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q rsync; } >/dev/null || echo 'make bench: rsync could not be installed' >&2
	@node --disable-warning=ExperimentalWarning bench/run.ts $(BENCH)

# Manual pages of the three programs, made of their commands, in build/man
man: setup
	@node --disable-warning=ExperimentalWarning src/cli/man-pages.ts

clean:
	rm -rf node_modules build dist .cache
