# All that the machine must have is make and Python 3.11 or newer; the rest goes into .venv, once.
#
#   PYTHON=...      another Python for .venv
#   WORKERS=...     processes that run the tests
#   QEMU=...        the QEMU that `make capture` builds the plugin for
#   QEMU_INCLUDE=.. the folder of its qemu-plugin.h, where that is not /usr/include
#   LOCK_FLAGS=...  for `make lock`: --upgrade, or --upgrade-package NAME

SHELL   := /bin/sh
PY      := .venv/bin/python
STAMP   := .venv/.installed
WORKERS ?= 2
UV      := uv==0.13.9

QEMU         ?= qemu-system-x86_64
QEMU_INCLUDE ?= /usr/include
CAPTURE_LIB  ?= build/libgpa_capture.so

# What the caller's shell may set for other projects has no say here.
unexport PYTHONPATH PYTHONHOME
export PIP_USER := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup run test test-slow lint type bench gallery capture lock clean moved

help: ## Show this help
	@echo 'usage: make TARGET'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## Make .venv and install everything there, exactly as requirements.lock says
	@echo 'make: .venv is ready'

run: $(STAMP) ## Replay the sample traces under three CPU profiles and write reports/run
	@.venv/bin/eptreplay replay traces/*.parquet -p haswell -p nehalem -p zen2 --out reports/run --overwrite
	@printf '\nThe report to open: %s\n' "$(CURDIR)/reports/run/index.html"

test: $(STAMP) ## Run the tests, but for the slow ones
	@$(PY) -c "from eptreplay.replay.one_host import warm_up; warm_up()"
	@$(PY) -m pytest -q -n $(WORKERS) -m 'not slow'

test-slow: $(STAMP) ## Run the slow tests
	@$(PY) -m pytest -q -m slow

lint: $(STAMP) ## Check style and format (ruff)
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check

type: $(STAMP) ## Check types (mypy)
	@$(PY) -m mypy

bench: $(STAMP) ## Measure speed, start-up and memory
	@$(PY) tests/benchmarks/bench.py
	@$(PY) tests/benchmarks/foreign.py

gallery: $(STAMP) ## Render the committed sample report under reports/gallery again
	@$(PY) -m eptreplay.report.pages.gallery

# From 9.0 on QEMU asks plugins for version 2 of its interface, before that for at most 1; of what the plugin uses, nothing differs.
capture: ## Build the QEMU plugin that records a guest's memory accesses (needs a C compiler)
	@set -eu; \
	if [ -f '$(QEMU_INCLUDE)/qemu-plugin.h' ]; then \
	  set -- -DHAVE_QEMU_PLUGIN_H -I'$(QEMU_INCLUDE)' $$(pkg-config --cflags glib-2.0 2>/dev/null || true); \
	else \
	  major=$$('$(QEMU)' --version 2>/dev/null | sed -n 's/.*version \([0-9]*\)\..*/\1/p;q'); \
	  if [ -z "$$major" ]; then \
	    echo 'make: $(QEMU) does not say its version; install it (Debian: qemu-system-x86), or name it: make capture QEMU=/path' >&2; \
	    exit 1; \
	  fi; \
	  if [ "$$major" -ge 9 ]; then set -- -DPLUGIN_API=2; else set -- -DPLUGIN_API=1; fi; \
	fi; \
	mkdir -p "$$(dirname '$(CAPTURE_LIB)')"; \
	$${CC:-cc} -std=gnu11 -O2 -Wall -Wextra -fPIC -shared -fvisibility=hidden "$$@" \
	  -o '$(CAPTURE_LIB)' traces/capture/gpa_capture.c -lpthread; \
	echo 'make: $(CAPTURE_LIB) is built'

# Installed where it stands, so that a change in pipeline/ needs no new installation.
$(STAMP): requirements.lock pyproject.toml
	@set -eu; \
	fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))'; \
	set -- python3 python3.13 python3.12 python3.11 python3.14; \
	[ -z "$${PYTHON:-}" ] || set -- "$$PYTHON"; \
	python=; \
	for candidate in "$$@"; do \
	  if "$$candidate" -c "$$fits" >/dev/null 2>&1; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "make: no Python from 3.11 to 3.14 among: $$*; install one, or name it: make PYTHON=/path/to/python3" >&2; \
	  exit 1; \
	fi; \
	if ! $(PY) -c "$$fits" >/dev/null 2>&1; then \
	  "$$python" -m venv --clear .venv >/dev/null 2>&1 || "$$python" -m venv --clear --without-pip .venv; \
	fi; \
	if $(PY) -m pip --version >/dev/null 2>&1; then \
	  set -- $(PY) -m pip; \
	else \
	  set -- "$$python" -m pip --python $(PY); \
	fi; \
	echo 'make: installing into .venv ...'; \
	"$$@" install --quiet --require-hashes --only-binary :all: -r requirements.lock; \
	"$$@" install --quiet --no-deps --no-build-isolation --force-reinstall -e .; \
	"$$@" check >/dev/null; \
	pwd >$(STAMP)

# A folder that was moved or copied has a .venv that still points to where it was.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(shell pwd))
$(STAMP): moved
endif
moved:

lock: ## Write requirements.lock again from pyproject.toml (needs network)
	@set -eu; \
	work=$$(mktemp -d); \
	trap 'rm -rf "$$work"' EXIT; \
	"$${PYTHON:-python3}" -m venv "$$work/venv"; \
	"$$work/venv/bin/python" -m pip install --quiet '$(UV)' hatchling; \
	"$$work/venv/bin/python" -c 'import tomllib; from hatchling import build; \
	  project = tomllib.load(open("pyproject.toml", "rb")); \
	  print(*project["build-system"]["requires"], *build.get_requires_for_build_editable(), sep="\n")' \
	  >"$$work/build.in"; \
	[ ! -f requirements.lock ] || cp requirements.lock "$$work/lock"; \
	"$$work/venv/bin/python" -m uv --no-config pip compile --quiet --universal --python-version 3.11 --all-extras \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header $(LOCK_FLAGS) \
	  -o "$$work/lock" pyproject.toml "$$work/build.in"; \
	{ \
	  echo '# Exact versions and SHA-256 hashes of all that eptreplay needs to be built, to run and to be tested,'; \
	  echo '# for Python 3.11 to 3.14 on Linux (x86-64, aarch64) and macOS (arm64). Made by `make lock`; do not edit.'; \
	  sed '/^#/d' "$$work/lock"; \
	} >"$$work/requirements.lock"; \
	mv "$$work/requirements.lock" requirements.lock

clean: ## Remove .venv, caches and reports, but for the committed ones
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist reports/run
	@find pipeline tests -name __pycache__ -type d -prune -exec rm -rf {} +
