# make is the interface: CI runs the same words. What a target needs is built or
# fetched through go.mod and tools.mod; promtool, prometheus and chromium come from the
# system's packages.

SHELL       = /bin/bash
.SHELLFLAGS = -o pipefail -c
SHARED     ?= ../shared
TOOL        = go tool -modfile=tools.mod

VERSION    ?= 0.0.0~dev
ARCH       ?= $(shell go env GOARCH)
RELEASE     = CGO_ENABLED=0 GOOS=linux GOARCH=$(ARCH) go build -trimpath -buildvcs=false -ldflags='-s -w -X main.release=$(VERSION)'

.PHONY: help build test check race fuzz bench sim fleet demo real fmt soak packages repro sbom

help: ## print this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build ./driftd
	CGO_ENABLED=0 go build -trimpath -o driftd ./cmd/driftd

test: ## every test that needs nothing outside the clone
	go test ./...

check: ## formatting, vet, linters, floors, outdated idioms
	@out="$$($(TOOL) gofumpt -d $$(git ls-files '*.go'))"; if [ -n "$$out" ]; then echo "$$out"; echo "run: make fmt"; exit 1; fi
	go vet ./...
	go vet -tags real ./...
	$(TOOL) golangci-lint run ./...
	go test -run . -count 1 .
	@out="$$(go fix -diff -stringsbuilder=false ./... 2>&1)" || { echo "$$out"; echo "run: make fmt"; exit 1; }

fmt: ## format and modernise everything
	go fix -stringsbuilder=false ./...
	$(TOOL) gofumpt -w $$(git ls-files '*.go')

race: ## every test under the race detector
	go test -race ./...

fuzz: ## every fuzz target for FUZZTIME (30s)
	@set -e; for file in $$(git grep -l '^func Fuzz' -- '*_test.go'); do \
	  for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$file); do \
	    echo "$$(dirname $$file) $$name"; go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(or $(FUZZTIME),30s) ./$$(dirname $$file); \
	  done; done

bench: ## the benchmarks, briefly (BENCHTIME, 200ms), and their bounds
	go test -run '^$$' -bench . -benchmem -benchtime $(or $(BENCHTIME),200ms) $(patsubst %,./pkg/%,event stats drift detect alert sim store daemon)
	go test -run '^$$' -bench . -benchtime 1x ./pkg/stream
	go run ./cmd/driftd bench ingest -o json

sim: ## false pages of the alarm procedure where nothing is wrong: minutes, docs/alarms.md
	go run ./cmd/driftd bench alarms

fleet: ## fill a store as 200 models would and restart it: memory, disk, time (some 10 minutes, 1 GB)
	go run ./cmd/driftd bench fleet -o json

soak: ## the long campaigns: 300 damaged stores, a minute of failing receivers
	go test -tags soak -count 1 -v -run '^TestDamagedStores$$' ./cmd/driftd | grep -v '^=== \|--- PASS: TestDamagedStores/'
	go test -tags soak -count 1 -v -run '^TestCampaign$$' ./pkg/notify

demo: ## the whole story without a terminal: the daemon, traffic, drift, alerts
	go run ./cmd/driftd demo --headless --seed 1 -o json

real: ## tests with real data (SHARED, ../shared), Prometheus and Chromium; they fail without
	@command -v promtool >/dev/null && command -v prometheus >/dev/null && command -v chromium >/dev/null || { echo "make real needs promtool, prometheus and chromium: apt-get install prometheus chromium"; exit 1; }
	@test -d $(SHARED)/data || { echo "make real needs the shared data: make real SHARED=<folder>"; exit 1; }
	@files="$$(git grep -l '^//go:build real' -- '*_test.go')"; \
	names="$$(sed -n 's/^func \(Test[A-Za-z0-9_]*\)(t .*/\1/p' $$files | paste -sd'|')"; \
	DRIFTD_SHARED=$(abspath $(SHARED)) go test -tags real -count 1 -v -run "^($$names)$$" $$(dirname $$files | sort -u | sed 's#^#./#') | grep -v '^=== '

packages: ## deb and rpm in dist/, with their bill of materials (VERSION, ARCH)
	mkdir -p dist
	$(RELEASE) -o driftd ./cmd/driftd
	go run ./cmd/driftd sbom driftd > dist/driftd_$(VERSION)_$(ARCH).cdx.json
	sed 's#^  dir: ./data              #  dir: /var/lib/driftd/data#' configs/driftd.yaml > dist/driftd.yaml
	for format in deb rpm; do VERSION='$(VERSION)' ARCH=$(ARCH) go tool -modfile=packages.mod nfpm package -f deploy/packages/nfpm.yaml -p $$format -t dist/ || exit 1; done

repro: ## build a release twice, in two folders, the second time with an empty cache: one sha256
	@set -e; two="$$(mktemp -d)"; trap 'chmod -R u+w "$$two"; rm -rf "$$two"' EXIT; \
	for side in one other; do mkdir -p $$two/$$side; git ls-files -z | xargs -0 cp --parents -t $$two/$$side; done; \
	(cd $$two/one && $(RELEASE) -o $$two/driftd-one ./cmd/driftd); \
	(cd $$two/other && GOCACHE=$$two/cache $(RELEASE) -o $$two/driftd-other ./cmd/driftd); \
	sha256sum $$two/driftd-* | sed "s#$$two/##"; cmp $$two/driftd-one $$two/driftd-other; echo "the builds are equal"

sbom: build ## the bill of materials of ./driftd, CycloneDX JSON
	@./driftd sbom driftd
