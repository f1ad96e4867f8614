/// Adapters of low rank (LoRA: Hu et al. 2021, arXiv 2106.09685) beside a frozen model's linear layers: `y = x·W + b + s·(x·Aᵀ)·Bᵀ`,
/// `A [r,d]`, `B [p,r]`, `s` = α/r. What is adapted is said here once; names and matching are PEFT's.
public struct LowRankAdapters: Sendable, Hashable {
  /// Which linear layers are adapted.
  public enum Targets: Sendable, Hashable, CustomStringConvertible {
    /// All of the blocks': attention's and the feed-forward layers'.
    case allLinear
    /// Those whose name is one of these, or ends with one behind a dot.
    case modules([String])

    public static let allLinearName = "all-linear"

    public var description: String {
      switch self {
      case .allLinear: Self.allLinearName
      case .modules(let names): names.sorted().joined(separator: ",")
      }
    }

    /// - Parameter module: its whole name, `transformer.h.0.attn.c_attn`.
    func contains(_ module: String) -> Bool {
      switch self {
      case .allLinear: true
      case .modules(let names): names.contains { Self.names($0, module) }
      }
    }

    static func names(_ name: String, _ module: String) -> Bool { module == name || module.hasSuffix("." + name) }
  }

  /// r
  public let rank: Int
  /// α
  public let alpha: Double
  public let targets: Targets
  package let names: FactorNames
  /// Whether s is α/√r (Kalajdzievski 2023, arXiv 2312.03732).
  public let isRankStabilized: Bool
  /// Whether A stays as it was drawn and B alone is trained, so that no product of two noises arises (Sun et al. 2024, arXiv 2403.12313).
  public let freezesDown: Bool
  /// Tensors that are trained whole beside the adapters, a classifier's: the model's own names, sorted. Ranks compare this description as text,
  /// and so does a run that goes on: a set's order would be another in each process.
  package let savedParameters: [String]

  package init(
    rank: Int, alpha: Double, targets: Targets, names: FactorNames, isRankStabilized: Bool = false, freezesDown: Bool = false,
    savedParameters: [String] = []
  ) {
    precondition(rank >= 1, "adapters of rank \(rank)")
    (self.rank, self.alpha, self.targets, self.names) = (rank, alpha, targets, names)
    (self.isRankStabilized, self.freezesDown) = (isRankStabilized, freezesDown)
    self.savedParameters = savedParameters.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  /// s
  package var scale: Double { Self.scale(rank: rank, alpha: alpha, isRankStabilized: isRankStabilized) }

  private static func scale(rank: Int, alpha: Double, isRankStabilized: Bool) -> Double {
    alpha / (isRankStabilized ? Double(rank).squareRoot() : Double(rank))
  }

  /// Whether s is a number above 0 that 32-bit floats hold in full: it is computed with in those.
  package static func isUsable(alpha: Double, rank: Int, isRankStabilized: Bool = false) -> Bool {
    alpha > 0 && Float(scale(rank: rank, alpha: alpha, isRankStabilized: isRankStabilized)).isNormal
  }

  package static let usableAlpha = "a number above 0 that 32-bit floats hold, divided by the rank (with use_rslora by its root), as 1e-30 to 1e30"

  /// What stands before the names of an adapter's own tensors, in files and in the canonical order: they come before all of the model's, so
  /// that no factor's name stands between those of a layer's weight and bias.
  package static let prefix = "base_model.model."

  /// What the factors are called behind their layer's name.
  package struct FactorNames: Sendable, Hashable {
    package let down, up: String

    package init(down: String, up: String) { (self.down, self.up) = (down, up) }
  }
}

extension ParameterLayout.Entry {
  /// Whether it is stored with an adapter and not with the model.
  package var isOfAdapter: Bool { name.hasPrefix(LowRankAdapters.prefix) }
}
