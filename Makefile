# make demo [KEEP=1]   three nodes on this machine: a mesh is made, joined, damaged and mended
# make test            everything that can be checked here
# make lint            style, types and the directions of imports
# make bench [QUICK=1] the figures of docs/performance.md, anew
# make bench-names     how many names a second are answered
# make scenarios       every scenario of the library, simulated; NODES=1000 SEEDS=10 for more, WORLD=real for daemons
# make manual          the manual page, build/smeg-cli.1
# make image           the container image
# make clean           remove what these have made
#
# PYTHON=... chooses the interpreter (3.11 or later). As root on Debian, missing packages are installed.

PYTHON ?= python3
DOCKER ?= docker
IMAGE ?= smegmesh
PYTEST_FLAGS ?= -n auto --maxprocesses=4 --dist loadfile --no-loadscope-reorder

bin := .venv/bin
metadata := setup.cfg setup.py pyproject.toml

# What is started a hundred times is compiled once, as it is where it was installed.
unexport PYTHONDONTWRITEBYTECODE

# Users often lack the folders of root's programs.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

# $(call need,COMMAND:PACKAGE ...): install the packages of the commands that are missing, or say which they are.
define need
missing=$$(for pair in $(1); do command -v "$${pair%%:*}" >/dev/null || echo "$${pair#*:}"; done | sort -u | xargs); \
if [ -n "$$missing" ]; then $(call install,$$missing); fi
endef

# Lists of packages are often there but old, or not there at all.
apt_install := DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends
install = if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo "installing $(1)"; \
	$(apt_install) $(1) >/dev/null 2>&1 || { apt-get update -qq && $(apt_install) $(1) >/dev/null; }; \
	else echo "Missing here, by the names that Debian has for them: $(1)" >&2; \
	echo "Install them (on Debian: sudo apt-get install $(1)), then try again." >&2; exit 1; fi

# Asked of a network namespace of its own, so that nothing is left behind.
kernel_wireguard = unshare $$([ "$$(id -u)" = 0 ] || echo --user --map-root-user) --net \
	ip link add probe type wireguard 2>/dev/null

.PHONY: demo test lint bench scenarios bench-names clean image manual python-packages demo-packages test-packages

demo: .venv/installed | demo-packages
	@KEEP='$(KEEP)' $(bin)/python -m scenarios.demo

test: lint | test-packages
	$(bin)/python -m pytest -m 'not kernel' $(PYTEST_FLAGS)

lint: .venv/installed-dev
	$(bin)/ruff check
	$(bin)/ruff format --check --quiet
	$(bin)/mypy
	$(bin)/lint-imports

# QUICK=1 takes three minutes, all of it hours; ARGS='--part faults --seeds 2' a part; PUBLISH=1 for the documentation.
bench: .venv/installed-bench
	@($(call need,serf:serf setpriv:util-linux taskset:util-linux)) || true
	$(bin)/python -m scenarios.bench $(if $(QUICK),--quick) $(if $(PUBLISH),--publish) $(ARGS)

bench-names: .venv/installed
	@$(call need,dnsperf:dnsperf)
	@$(bin)/python -m scenarios.names_bench $(ARGS)

# WORLD=real PATIENCE=3 takes an hour; what this machine cannot do (status 3) is said, and is no failure of the others.
scenario_world = $(if $(filter real,$(WORLD)),--world real --patience $(or $(PATIENCE),1) $(addprefix --nodes ,$(NODES)),--nodes $(or $(NODES),50))
scenarios: .venv/installed $(if $(filter real,$(WORLD)),| test-packages)
	@$(bin)/smeg-scenario run --quiet --seeds $(or $(SEEDS),1) $(scenario_world) $(ARGS) \
	  $(sort $(wildcard scenarios/library/*.yaml)) $(if $(filter real,$(WORLD)),|| [ $$? = 3 ])

manual: build/smeg-cli.1

build/smeg-cli.1: $(wildcard smeg/cli/*.py) | .venv/installed
	@mkdir -p build
	$(bin)/smeg-cli manual > $@

image:
	$(DOCKER) build --tag $(IMAGE) .

clean:
	rm -rf .venv build dist smegmesh.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find smeg actors scenarios tests -name __pycache__ -prune -exec rm -rf {} +

# Installed in place, so that the commands always run what stands here.
.venv/installed: $(metadata) | .venv/bin/pip
	$(bin)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(bin)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

.venv/installed-bench: .venv/installed
	$(bin)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

.venv/bin/pip: | python-packages
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "smegmesh needs Python 3.11 or later, and $(PYTHON) is $$($(PYTHON) --version); give one by PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv

# A folder .venv without pip is what a Python without ensurepip leaves.
python-packages:
	@[ -x .venv/bin/pip ] || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	{ $(call install,python3 python3-venv); }

demo-packages: | python-packages
	@$(call need,ip:iproute2 ping:iputils-ping unshare:util-linux mount:mount hostname:hostname)
	@$(kernel_wireguard) || \
	{ $(call need,wireguard-go:wireguard-go $$([ "$$(id -u)" != 0 ] || echo wg:wireguard-tools)); }

test-packages: | demo-packages
	@$(call need,wireguard-go:wireguard-go wg:wireguard-tools nft:nftables traceroute:traceroute dig:bind9-dnsutils dnsmasq:dnsmasq-base dot:graphviz curl:curl)
	@($(call need,chromium:chromium)) || echo 'Without Chromium the page is not tried in a browser.'
