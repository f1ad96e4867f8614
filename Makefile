# Two commands on a fresh Debian machine with Swift 6.1 or newer: `make run` and `make test`.
BUILD := swift build -c release
BIN := .build/release
# Open MPI asks root and a machine of fewer cores than ranks to say so.
export OMPI_ALLOW_RUN_AS_ROOT := 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM := 1
RANKS := 4

.PHONY: all setup build run test cluster-test fault-campaign bench format clean

all: build

setup:
	@scripts/setup

build: setup
	$(BUILD)

# The main job: ghost clipping on four ranks, on the built-in corpus. ARGS adds options, such as ARGS="--output runs/first".
run: build
	mpirun --oversubscribe -np $(RANKS) $(BIN)/dp-mpirun --mode ghost --steps 64 --learning-rate 3e-3 $(ARGS)

# An optimised build: numeric code is some fifty times slower without. CLUSTER_TESTS=required fails where a machine can't make hosts.
test: setup
	scripts/check-layers
	scripts/defects --check
	$(BUILD) --build-tests
	swift test -c release --skip-build --skip '^ClusterTests\.'
	scripts/cluster-test $(if $(filter required,$(CLUSTER_TESTS)),,--if-possible)

# Training over TCP on three pretend hosts: needs root.
cluster-test: setup
	$(BUILD) --build-tests
	scripts/cluster-test

# The long form of what `make test` does with 40: half of the runs are on three pretend hosts, for which it needs root. An hour.
fault-campaign: build
	$(BIN)/FaultCampaign --faults 1000 --hosts 3

# Short settings, to see that all of it runs: the figures' own settings stand in Benchmarks/README.md, and so does what is left out here (the
# peers, whose packages have to be installed).
bench: build
	$(BIN)/kernel-benchmarks memory sgemm "seed-medium, 512 rows"
	$(BIN)/step-benchmarks --modes standard,ghost,hooks --batch 4 --seq-len 128 --steps 1
	$(BIN)/step-benchmarks per-step --models tiny,seed-medium --steps 1
	$(BIN)/step-benchmarks logical-batches --model tiny --batches 8,64,512
	$(BIN)/step-benchmarks planned-peaks --shapes 4x128 --recompute none --steps 1
	mpirun --oversubscribe -np 2 $(BIN)/exchange-benchmarks seed-medium 1
	Benchmarks/adapters/run --model llama-tiny --records 4 --seq-len 32 --steps 3
	@echo "the figures' own settings, and the peers: Benchmarks/README.md"

format:
	swift format --in-place --recursive Sources Tests Benchmarks Package.swift

clean:
	swift package clean
