# Two commands on a fresh Debian machine with Swift 6.1 or newer: `make run` and `make test`.
BUILD := swift build -c release
BIN := .build/release
# Open MPI asks root and a machine of fewer cores than ranks to say so.
export OMPI_ALLOW_RUN_AS_ROOT := 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM := 1
RANKS := 4

.PHONY: all setup build run test cluster-test bench format clean

all: build

setup:
	@scripts/setup

build: setup
	$(BUILD)

# The main job: ghost clipping on four ranks, on the built-in corpus. ARGS adds options, such as ARGS="--output runs/first".
run: build
	mpirun --oversubscribe -np $(RANKS) $(BIN)/dp-mpirun --mode ghost --steps 64 --learning-rate 3e-3 $(ARGS)

# An optimised build: numeric code is some fifty times slower without.
test: setup
	scripts/check-layers
	$(BUILD) --build-tests
	swift test -c release --skip-build --skip '^ClusterTests\.'
	scripts/cluster-test --if-possible

# Training over TCP on three pretend hosts: needs root.
cluster-test: setup
	$(BUILD) --build-tests
	scripts/cluster-test

bench: setup
	@echo "see Benchmarks/README.md"

format:
	swift format --in-place --recursive Sources Tests Benchmarks Package.swift

clean:
	swift package clean
