# The words that start things; the work is in the packages. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

# Tried in turn; the first that is 3.10, 3.11 or 3.12 is taken. Name another: make test PYTHON=/opt/python3.11/bin/python3
PYTHON ?= python3 python3.12 python3.11 python3.10
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Installed before everything else and pinned: an unpinned torch can bring gigabytes of GPU libraries that no test needs.
# TORCH_PIP passes options to pip for it, such as the index that holds its CPU builds.
TORCH_VERSION ?= 2.13.0
TORCH_PIP ?=

# ONNX Runtime's wheels would report to their maker.
export ORT_DISABLE_TELEMETRY := 1

CODE := device engines calibration systemd tests docs/experiments
SOURCE ?=
REPORT ?= demo-report
HOURS ?= 1
FOLDER ?= runs/soak
CASES ?=
SCALE ?= 1
RESULTS ?= runs/faults
ARGS ?=
# Which of its tests `make test-box` runs.
BOX ?= tests/box
# The machine that packages and images are made for: this one, unless said otherwise.
DISTRIBUTION ?= $(shell . /etc/os-release 2>/dev/null; echo $${VERSION_CODENAME:-bookworm})
ARCH ?= $(shell dpkg --print-architecture 2>/dev/null || echo amd64)
DEB ?= $(lastword $(sort $(wildcard dist/leukoscope_*bookworm*_$(ARCH).deb)))
KEYRING ?= build/keys/keyring.pem

# What the tests of window, broker and unit need from a Debian or Ubuntu system. Without it they are skipped, each with its reason.
SYSTEM_PACKAGES := xvfb xauth xdotool mosquitto postgresql systemd libegl1 libgl1 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 \
  libxcb-keysyms1 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libdbus-1-3 libfontconfig1 libfribidi0 \
  chromium fonts-noto-core nginx-light

# What making and booting package and image needs besides, from Debian 12.
BOX_PACKAGES := mmdebstrap dpkg-dev fakeroot squashfs-tools mtools dosfstools fdisk e2fsprogs rauc openssl grub-efi-amd64-bin grub-common qemu-system-x86 qemu-utils ovmf cage seatd

.PHONY: help first-board demo supervisor fleet test lint test-box test-vm deb install keys image bundle flash soak test-faults messages animation bench film train adapt quantize engine evaluate clean system-packages box-packages

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.installed-$(if $(INTERACTIVE),screen,demo) ## one slide from barcode to signed report, into REPORT (demo-report); SOURCE=DIR: of pictures; INTERACTIVE=1: by your own hand
	$(BIN)/leukoscope demo --report '$(REPORT)' $(if $(SOURCE),--source '$(SOURCE)') $(if $(INTERACTIVE),--interactive) $(ARGS)

supervisor: $(VENV)/.installed-supervisor ## a broker, two simulated devices and the supervisor's page on this machine; prints address and password, Ctrl-C ends all
	$(BIN)/leukoscope supervise demo $(ARGS)

fleet: $(VENV)/.installed-supervisor ## 1,000 simulated devices, mosquitto, three ingesters and PostgreSQL, measured on this machine (25 minutes); ARGS="--write docs/scale.md"
	$(BIN)/python docs/experiments/fleet.py $(ARGS)

test: system-packages lint ## everything that a change must pass: ruff, mypy, pytest
	$(BIN)/pytest -n 2 --dist loadfile $(ARGS)

lint: $(VENV)/.installed-dev ## ruff and mypy alone
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/mypy docs/experiments/*.py

test-box: box-packages $(VENV)/.installed-dev ## package and image: made, installed, compared, booted once in QEMU (15 minutes, as root)
	$(BIN)/pytest $(BOX) $(ARGS)

test-vm: box-packages $(VENV)/.installed-dev ## the image under power cuts, updates and rollbacks in QEMU (hours under software emulation)
	$(BIN)/pytest tests/vm $(ARGS)

deb: $(VENV)/.installed-package ## the Debian package with every library in it, into dist/: DISTRIBUTION=bookworm|jammy|noble|all ARCH=amd64|arm64|all (five minutes each)
	$(BIN)/python -m systemd.package.build --distribution '$(DISTRIBUTION)' --arch '$(ARCH)' $(ARGS)

install: deb ## the package for this machine, made and installed (as root)
	apt-get install -y --reinstall --allow-downgrades ./$$(ls -t dist/leukoscope_*_$(DISTRIBUTION)_$(ARCH).deb | head -1)

image: box-packages $(VENV)/.installed-demo ## the image of a box for ARCH (amd64, arm64) from DEB, into build/image-ARCH (as root); BOARD=NAME BSP=FOLDER: what flashes a Jetson
	@[[ -n '$(DEB)' ]] || { echo 'No package for $(ARCH); make deb makes it, or name one: make image DEB=FILE'; exit 2; }
ifdef BOARD
	$(BIN)/python -m systemd.image.jetson '$(BSP)' --deb '$(DEB)' --keyring '$(KEYRING)' $(if $(filter-out jetson,$(BOARD)),--board '$(BOARD)') $(ARGS)
else
	$(BIN)/python -m systemd.image.build --arch '$(ARCH)' --deb '$(DEB)' --out 'build/image-$(ARCH)' $(if $(wildcard $(KEYRING)),--keyring '$(KEYRING)') $(ARGS)
endif

keys: $(VENV)/.installed-demo ## the keys that sign updates, into build/keys, where there are none (never committed); ARGS="--signer signer-2028": next year's signer
	$(BIN)/python -m systemd.image.keys --out '$(dir $(KEYRING))' $(ARGS)

bundle: $(VENV)/.installed-demo ## a signed update (*.raucb) from build/image-ARCH, for a stick
	$(BIN)/python -m systemd.image.bundle --arch '$(ARCH)' --keys '$(dir $(KEYRING))' $(ARGS)

flash: $(VENV)/.installed-demo ## write IMAGE to the disk DEV and read it back (as root; asks first): DEV=/dev/sdX IMAGE=build/image/….img
	@[[ -n '$(DEV)' && -n '$(IMAGE)' ]] || { echo 'Name both: make flash DEV=/dev/sdX IMAGE=FILE (`lsblk -d -o NAME,SIZE,MODEL,SERIAL,TRAN` lists the disks)'; exit 2; }
	$(BIN)/python -m systemd.image.flash '$(IMAGE)' '$(DEV)' $(ARGS)

test-faults: system-packages $(VENV)/.installed-dev ## break the appliance in every named way (an hour); CASES="kills clock" SCALE=0.1; table into docs/reliability.md
	$(BIN)/python -m tests.faults.run --cases '$(CASES)' --scale $(SCALE) --results $(RESULTS) --page docs/reliability.md $(ARGS)

soak: $(VENV)/.installed-dev ## HOURS=1 of the appliance beside a broker in trouble; figures and plot into FOLDER (runs/soak), then docs/reliability.md
	$(BIN)/python -m tests.support.soak --hours $(HOURS) --out $(FOLDER) $(ARGS)
	$(BIN)/python -m tests.support.soak --out $(FOLDER) --page docs/reliability.md

messages: $(VENV)/.installed-dev ## bring the catalogues of translations to the words of the code, and say what is missing
	$(BIN)/python -m device.language.messages

animation: $(VENV)/.installed-demo ## the pictures of README and docs/technician.md, from the demo's screen (ARGS="--help")
	$(BIN)/python docs/experiments/animation.py $(ARGS)

bench: $(VENV)/.installed-demo ## frames a second and milliseconds of each stage, into docs/benchmarks.md
	$(BIN)/leukoscope bench --out docs/benchmarks.md $(ARGS)

film: $(VENV)/.installed-demo ## render blood film with its truth (ARGS="--help")
	$(BIN)/attridet film $(ARGS)

train: $(VENV)/.installed-dev ## train an AttriDet (ARGS="--help")
	$(BIN)/attridet train $(ARGS)

adapt: $(VENV)/.installed-dev ## carry a network over to a microscope without labels (ARGS="--help")
	$(BIN)/attridet adapt $(ARGS)

quantize: $(VENV)/.installed-dev ## put an engine into INT8, judged by the gate (ARGS="BUNDLE OUT --frames DIR --data DIR")
	$(BIN)/attridet quantize $(ARGS)

engine: $(VENV)/.installed-demo ## build this device's TensorRT plans of a bundle (ARGS="BUNDLE --plans DIR")
	$(BIN)/attridet build $(ARGS)

first-board: $(if $(ATTRIDET),,$(VENV)/.installed-demo) ## the day with a board: plans, golden, gate, 10,000 frames, memory, GPU tests, into OUT.tar.gz (OUT=first-board); ATTRIDET=/usr/bin/attridet: the installed one; ARGS=--without-gpu
	$(or $(ATTRIDET),$(BIN)/attridet) first-board '$(or $(OUT),first-board)' $(ARGS)

evaluate: $(VENV)/.installed-dev ## score a bundle on labelled pictures (ARGS="BUNDLE --data DIR --split val")
	$(BIN)/attridet evaluate $(ARGS)

clean: ## remove what tools leave behind; .venv and runs stay
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-report
	find device engines calibration tests -name __pycache__ -type d -prune -exec rm -rf {} +

box-packages: SYSTEM_PACKAGES += $(BOX_PACKAGES)
box-packages: system-packages ## the same, and what test-box and test-vm need

system-packages: ## the Debian packages that some tests need (installs them as root or by sudo without password)
	@missing=; for package in $(SYSTEM_PACKAGES); do \
	  dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing+=" $$package"; done; \
	[[ -n $$missing ]] || exit 0; \
	if ! command -v apt-get >/dev/null; then echo "No apt-get here; tests that need one of these are skipped:$$missing"; exit 0; fi; \
	if [[ $$(id -u) == 0 ]]; then sudo=; elif sudo -n true 2>/dev/null; then sudo="sudo -n"; \
	else echo "Not root; tests that need one of these are skipped:$$missing"; exit 0; fi; \
	echo "Installing Debian packages:$$missing"; \
	{ $$sudo apt-get update -qq && known=$$(for package in $$missing; do \
	    if LC_ALL=C apt-cache policy $$package | grep 'Candidate: [0-9]' >/dev/null; then echo $$package; \
	    else echo "$$package: not to be had on this system; tests that need it are skipped" >&2; fi; done) && \
	  $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$known >/dev/null; } \
	  || echo "They could not be installed; tests that need them are skipped."

$(BIN)/python:
	@for python in $(PYTHON); do \
	  if "$$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null; then \
	    "$$python" -m venv $(VENV) && exit 0; \
	    rm -rf $(VENV); echo "$$python cannot make a virtual environment; on Debian: apt install python3-venv"; exit 1; \
	  fi; \
	done; \
	echo "Python 3.10, 3.11 or 3.12 is needed, and $(firstword $(PYTHON)) is" \
	  "$$($(firstword $(PYTHON)) -V 2>/dev/null || echo absent); install one and name it: make PYTHON=/path/to/python3.11"; exit 1

$(VENV)/.installed-demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV) (once; a minute or two)"
	@$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/.installed-screen: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV) what a window needs (once; a minute or two)"
	@$(PIP) -e '.[demo,screen]'
	@touch $@ $(VENV)/.installed-demo

$(VENV)/.installed-package: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV) what making packages needs (once; a minute or two)"
	@$(PIP) -e '.[demo,package]'
	@touch $@ $(VENV)/.installed-demo

$(VENV)/.installed-supervisor: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV) what the supervisor's page needs (once; a minute or two)"
	@$(PIP) -e '.[demo,supervisor]'
	@touch $@ $(VENV)/.installed-demo

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV) what development needs (once; some minutes)"
	@$(PIP) $(TORCH_PIP) 'torch==$(TORCH_VERSION)'
	@$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.installed-demo
