# Set-up, the two commands, and the checks. Everything runs on the Node that npm installs with the package (26.x).
SHELL := /bin/sh
PATH := $(CURDIR)/node_modules/.bin:$(PATH)
export PATH

.PHONY: demo start test test-fast check bench interop setup clean

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

interop: setup
	node test/run.mjs interop

bench: setup
	node bench/run.ts

clean:
	rm -rf node_modules build dist .cache
