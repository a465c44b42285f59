# Sigill. `make` or `make help` lists what there is.
# Recipes are plain POSIX sh; tests need no network.

GO       ?= go
D        ?= ./sigill-data
FUZZTIME ?= 30s
RACE     ?=
BENCH    ?=
KILLS    ?= 1000
DB       ?= both
MUTATE   ?=
# A package's tests may take longer than the ten minutes of go test on a machine that is
# slow or does something else; what hangs ends by bounds of its own, or by this one.
PATIENCE ?= 45m

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/sigill (static, no cgo), and bin/sigill-card where cgo works
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/sigill ./cmd/sigill
	@if [ -d cmd/sigill-card ]; then \
		if [ "$$($(GO) env CGO_ENABLED)" = 1 ] && command -v "$$($(GO) env CC)" >/dev/null 2>&1; then \
			echo "$(GO) build -o bin/sigill-card ./cmd/sigill-card"; \
			$(GO) build -trimpath -o bin/sigill-card ./cmd/sigill-card; \
		else echo "bin/sigill-card is left out: it needs cgo and a C compiler"; fi; fi

.PHONY: demo
demo: build-static ## the whole journey in a temporary directory, told as a story
	bin/sigill demo

.PHONY: run
run: build-static ## start sigill serve on D (default ./sigill-data), made if absent
	@if [ ! -e "$(D)" ]; then echo "bin/sigill init --dir $(D)"; bin/sigill init --dir "$(D)"; fi
	bin/sigill serve --dir "$(D)"

.PHONY: build-static
build-static:
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/sigill ./cmd/sigill

.PHONY: test
test: deps lint ## install what tests need where possible, lint, run every test
	$(GO) test -timeout $(PATIENCE) ./...

.PHONY: deps
deps: ## install the Debian packages that some tests need, or say what is missing
	@sh .ci/deps

.PHONY: lint
lint: ## go vet, staticcheck, gofmt, go mod tidy -diff
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@files=$$(git ls-files -co --exclude-standard -- '*.go' | xargs gofmt -l); \
	if [ -n "$$files" ]; then echo "gofmt would change:"; echo "$$files"; exit 1; fi
	$(GO) mod tidy -diff

.PHONY: race
race: ## run the tests of packages with concurrency under the race detector (RACE=./pkg)
	@pkgs="$(RACE)"; \
	if [ -z "$$pkgs" ]; then \
		pkgs=$$(git grep -lE --untracked 'sync\.|atomic\.|go func|make\(chan' -- '*.go' | xargs -n1 dirname | sort -u | sed 's|^|./|'); fi; \
	echo "$(GO) test -race" $$pkgs; \
	$(GO) test -race -timeout $(PATIENCE) $$pkgs

.PHONY: bench
bench: build-static ## measure, with the ceiling beside each figure (BENCH=NAME for one)
	bin/sigill bench $(BENCH)

.PHONY: bench-doc
bench-doc: build-static ## measure everything (or BENCH), and write the results into docs/BENCHMARKS.md
	bin/sigill --json bench $(BENCH) > bin/figures.json
	bin/sigill bench table --into docs/BENCHMARKS.md < bin/figures.json

# Little time goes into making inputs smaller: targets that call the whole handler
# never take quite the same path twice, and would do nothing else.
.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (default 30s)
	@set -e; for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' "$$pkg" | grep '^Fuzz' || true); do \
			echo "fuzz $$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$pkg"; \
		done; done

.PHONY: mutate
mutate: ## make the critical path worse, one line at a time: a named test must fail for each (MUTATE=part of a name)
	SIGILL_MUTATE=1 $(GO) test -count=1 -timeout 60m -v -run '^TestMutations$$/$(MUTATE)' ./internal/mutate

.PHONY: simulate
simulate: ## simulate the whole service for TIME (default 1m); SEED=n replays one schedule with its trace
	SIGILL_SIMULATE_TIME="$(or $(TIME),1m)" SIGILL_SIMULATE_FROM="$(or $(FROM),$(shell date +%s))" SIGILL_SIMULATE_SEED="$(SEED)" \
		$(GO) test -count=1 -timeout 0 -v -run '^TestSimulate$$' ./internal/simulate

.PHONY: chaos
chaos: ## kill the real server inside requests KILLS times (default 1000) on DB (sqlite, postgres or both); SIGILL_SEED repeats the draws
	SIGILL_REQUIRE=1 SIGILL_CHAOS_KILLS=$(KILLS) SIGILL_CHAOS_DB=$(DB) $(GO) test -count=1 -v -timeout 0 -run '^TestKilledAtAnyMoment$$' ./internal/chaos

.PHONY: golden
golden: ## write the golden files under testdata/ anew; look at the difference before committing it
	$(GO) test -count=1 $$(git grep -l --untracked 'flag.Bool("update"' -- '*_test.go' | xargs -n1 dirname | sort -u | sed 's|^|./|') -args -update
	git diff --stat -- testdata

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
