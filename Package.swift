// swift-tools-version: 6.1
import PackageDescription

let package = Package(
  name: "dp-mpirun",
  products: [
    .executable(name: "dp-mpirun", targets: ["dp-mpirun"]),
    .library(name: "DistEngine", targets: ["DistEngine"]),
    .library(name: "PrivacyAccounting", targets: ["PrivacyAccounting"]),
    // Of the tests: what they preload has to be a file of its own.
    .library(name: "StorageFaults", type: .dynamic, targets: ["CStorageFaults"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
  ],
  targets: [
    // Open MPI by default; DP_MPIRUN_MPI names another pkg-config file, such as mpich: see docs/clusters.md.
    .systemLibrary(
      name: "CMPISystem", path: "Sources/CMPI/System", pkgConfig: Context.environment["DP_MPIRUN_MPI"] ?? "ompi-c",
      providers: [.apt(["libopenmpi-dev"])]),
    .target(name: "CMPI", dependencies: ["CMPISystem"], path: "Sources/CMPI", exclude: ["System"]),
    .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "COneDNN", providers: [.apt(["libdnnl-dev"])]),
    .target(name: "CKernels"),
    .target(name: "PrivacyAccounting"),
    .target(
      name: "DistEngine",
      dependencies: [
        "CMPI", "COpenBLAS", "COneDNN", "CKernels", "CZlib", "PrivacyAccounting",
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "CryptoExtras", package: "swift-crypto"),
      ],
      resources: [.copy("Resources/builtin-corpus")]),
    .executableTarget(
      name: "dp-mpirun",
      dependencies: [
        "DistEngine", "PrivacyAccounting",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ]),

    // Tests: a target a module. They run optimised, so they see `package` declarations, not `@testable` ones.
    .target(name: "TestSupport", dependencies: ["DistEngine", "CKernels"], path: "Tests/TestSupport"),
    .executableTarget(name: "MPIChecks", dependencies: ["CSyncCounter", "DistEngine"], path: "Tests/MPIChecks"),
    .testTarget(name: "CMPITests", dependencies: ["CMPI"]),
    .testTarget(name: "COpenBLASTests", dependencies: ["COpenBLAS"]),
    .testTarget(name: "CKernelsTests", dependencies: ["CKernels", "TestSupport"]),
    .testTarget(name: "PrivacyAccountingTests", dependencies: ["PrivacyAccounting"], resources: [.copy("Fixtures")]),
    .testTarget(name: "DistEngineMPITests", dependencies: ["DistEngine", "TestSupport"]),
    .testTarget(name: "DistEngineKernelTests", dependencies: ["DistEngine", "TestSupport"]),
    .testTarget(
      name: "DistEngineRandomTests",
      dependencies: [
        "DistEngine", "CKernels", "TestSupport", .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "CryptoExtras", package: "swift-crypto"),
      ]),
    .target(name: "CSyncCounter", path: "Tests/CSyncCounter"),
    .target(name: "CStorageFaults", path: "Tests/CStorageFaults"),
    .testTarget(name: "DistEngineDataTests", dependencies: ["CSyncCounter", "DistEngine", "TestSupport"]),
    .testTarget(name: "DistEngineTokenizerTests", dependencies: ["DistEngine", "TestSupport"]),
    .testTarget(name: "DistEngineModelFileTests", dependencies: ["DistEngine", "TestSupport"]),
    .testTarget(name: "DistEngineTests", dependencies: ["DistEngine", "PrivacyAccounting", "TestSupport"]),
    .testTarget(
      name: "CommandLineTests", dependencies: ["DistEngine", "PrivacyAccounting", "TestSupport", .product(name: "Crypto", package: "swift-crypto")]),
    .executableTarget(
      name: "FaultCampaign",
      dependencies: [.product(name: "ArgumentParser", package: "swift-argument-parser"), .product(name: "Crypto", package: "swift-crypto")],
      path: "Tests/FaultCampaign"),
    .testTarget(name: "ClusterTests", dependencies: ["DistEngine", "TestSupport"]),
    .target(name: "FuzzTargets", dependencies: ["DistEngine", "PrivacyAccounting"], path: "Tests/Fuzz/Targets"),
    .testTarget(name: "FuzzTests", dependencies: ["DistEngine", "FuzzTargets", "TestSupport"]),

    // Benchmarks: how each figure of docs/performance.md is made.
    .executableTarget(name: "kernel-benchmarks", dependencies: ["CKernels", "COpenBLAS", "DistEngine"], path: "Benchmarks/kernels"),
    .executableTarget(name: "bits", dependencies: ["DistEngine"], path: "Benchmarks/bits"),
    .executableTarget(name: "exchange-benchmarks", dependencies: ["CMPI", "DistEngine"], path: "Benchmarks/exchange"),
    .executableTarget(
      name: "tokenizer-benchmarks", dependencies: ["DistEngine"], path: "Benchmarks/tokenizers", exclude: ["compare", "run"]),
    .target(name: "CAllocationCounter", path: "Benchmarks/CAllocationCounter"),
    .executableTarget(
      name: "step-benchmarks",
      dependencies: ["CAllocationCounter", "DistEngine", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      path: "Benchmarks/step"),
  ],
  swiftLanguageModes: [.v6]
)

// libFuzzer over the same properties: needs its runtime, and instrumentation all through. See scripts/fuzz.
if Context.environment["DP_MPIRUN_FUZZ"] != nil {
  package.targets.append(.executableTarget(name: "fuzz-inputs", dependencies: ["FuzzTargets"], path: "Tests/Fuzz/Driver"))
}
