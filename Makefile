# `make run` and `make test` do everything on a fresh machine with Go, git and make; see README.md.
SHELL = /bin/bash
.DEFAULT_GOAL = help
.PHONY: help run build images test e2e bench lint fmt clean

# setpriv: what the script starts ends with make, even when make is killed.
run: ## set up, build, and show a push becoming an installed RPM; Ctrl-C ends it
	@exec setpriv --pdeathsig TERM scripts/run

build: ## the binaries, into bin/
	@scripts/build

images: ## the container images, tags VERSION and latest; what is unchanged is left alone
	@scripts/images

test: ## set up what is missing and run all tests, with a summary
	@scripts/test

e2e: ## end-to-end tests alone; real mock with MOCK_IMAGE=... MOCK_CONFIGDIR=... MOCK_TARGET=...
	@MOCK_IMAGE='$(MOCK_IMAGE)' MOCK_CONFIGDIR='$(MOCK_CONFIGDIR)' MOCK_TARGET='$(MOCK_TARGET)' scripts/test ./test/e2e

bench: build ## measurements
	. scripts/flags && go run ./bench

lint: ## format, golangci-lint, dead code, known vulnerabilities, shell scripts
	@scripts/lint

fmt: ## gofmt on everything
	gofmt -w $$(git ls-files --cached --others --exclude-standard '*.go')

clean: ## removes what was built; .rpmflow, the data of `make run`, stays
	rm -rf bin .cache

help:
	@sed -nE 's/^([a-z0-9]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 14
