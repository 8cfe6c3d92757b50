# `make test` and `make demo` are all that a new clone needs; both install what they call.

# Longer than in CI; set them to go on longer still.
HMCO_FUZZ_CASES ?= 200000
HMCO_TORTURE_CASES ?= 100000

.DEFAULT_GOAL := help
.PHONY: help test demo torture conformance bench cross demo-clean

help:
	@echo 'make test        all checks and tests'
	@echo 'make demo        nodes on this machine become a cluster, twice (in target/demo); DEMO_SERVERS=3, K3S=PATH|release K3S_IMAGES=TAR'
	@echo 'make bench       measurements, beside OpenSSH, pyinfra, Ansible and mitogen'
	@echo 'make torture     all that can go wrong on rehearsal nodes, and the random tests for longer'
	@echo 'make conformance the K3s stand-in against all recordings of the real K3s, and its proofs; K3S=PATH, CASES'
	@echo 'make cross       the release for aarch64, tried under emulation'
	@echo 'make demo-clean  remove the demo and its nodes'

test:
	@.ci/test

demo:
	@.ci/demo

torture:
	HMCO_FUZZ_CASES=$(HMCO_FUZZ_CASES) HMCO_TORTURE_CASES=$(HMCO_TORTURE_CASES) .ci/torture

# K3S=PATH names the K3s that is held to the recordings; without it the stand-in is built. CASES chooses some of them.
conformance:
	@.ci/conformance $(if $(CASES),-only '$(CASES)')

bench:
	@.ci/bench

cross:
	@.ci/cross

demo-clean:
	@.ci/demo-clean
