/// A parameter tensor by its place in the order of declaration.
package struct ParameterID: Hashable, Sendable {
  let index: Int
}

/// What a tensor is to its layer, for what is chosen by kind: which are trained.
package enum ParameterRole: Sendable, Hashable {
  case weight
  case bias
  /// A norm's factor.
  case gain
  case table
  /// A weight of the language head, or the table that it shares with the token embedding.
  case head
  /// A classifier's, weights and biases: of its last layer and of the dense one before it.
  case classifier
  /// An adapter's factors: from a layer's input to r columns, and from there to its output.
  case adapterDown, adapterUp
}

/// Values of a tensor in a fresh model.
package enum FreshValues: Sendable, Hashable {
  case zeros
  case ones
  /// N(0, deviation²).
  case normal(deviation: Double)
  /// U(−bound, bound).
  case uniform(bound: Double)
}

/// One tensor, said before anything is allocated or read.
package struct ParameterDeclaration: Sendable, Hashable {
  /// Hugging Face's: in files, and the canonical order.
  package let name: String
  package let shape: [Int]
  package let role: ParameterRole
  /// Tensors that get their gradient together (weight and bias, gain and bias) have one number.
  package let group: Int
  /// Kept, repeated, recomputed together (``Timeline``).
  package let stage: Int
  package let fresh: FreshValues
  package let isTrained: Bool
  /// Whether it stays in its file, as that has it (``StoredTensors``).
  package internal(set) var isMapped = false
}

/// Which parameters are trained. The others are frozen: no gradient, no noise, no optimizer state, no clip factor.
public enum TrainableParameters: String, Codable, CaseIterable, Sendable {
  case all
  /// Every bias, the norms' too, and a classifier (BiTFiT: Ben Zaken et al. 2022, arXiv 2106.10199).
  case bias
  /// The language head (a tied one is the shared table, in both of its uses), or the classifier with its dense layer.
  case head
  /// Adapters of low rank, and a classifier's modules with them (``LowRankAdapters``).
  case lora

  func trains(_ role: ParameterRole) -> Bool {
    switch self {
    case .all: true
    case .bias: role == .bias || role == .classifier
    case .head: role == .head || role == .classifier
    case .lora: role == .adapterDown || role == .adapterUp
    }
  }
}

/// The tensors of a model: the trained ones in canonical order, the frozen ones apart, in memory or in their files. Sum, noise, optimizer, shards and
/// clip factors see `trained` alone: what is frozen has no element that noise could reach.
package struct ParameterTable: Sendable {
  package let trained: ParameterLayout
  /// In the order of names, too.
  package let frozen: ParameterLayout
  /// Those that stay in their files. Of passes alone, all that can; else frozen ones.
  package let mapped: ParameterLayout
  /// All of them, in one canonical order: that of files and of fresh values, which don't depend on what is trained.
  package let whole: ParameterLayout
  private let places: [Place]
  private let uses: [Int]

  private enum Place { case trained(Int), frozen(Int), mapped(Int) }

  /// - Parameter uses: how many layers use each tensor, in the order of declaration.
  package init(_ declarations: [ParameterDeclaration], uses: [Int]) {
    let trained = ParameterLayout(declarations.filter { $0.isTrained && !$0.isMapped })
    let frozen = ParameterLayout(declarations.filter { !$0.isTrained && !$0.isMapped })
    let mapped = ParameterLayout(declarations.filter(\.isMapped))
    (self.trained, self.frozen, self.mapped) = (trained, frozen, mapped)
    whole = ParameterLayout(declarations)
    self.uses = uses
    places = declarations.map { tensor in
      if tensor.isMapped { return .mapped(mapped[tensor.name].index) }
      return tensor.isTrained ? .trained(trained[tensor.name].index) : .frozen(frozen[tensor.name].index)
    }
  }

  /// Place in the canonical order of the trained tensors; nil: frozen.
  package func tensor(_ id: ParameterID) -> Int? {
    if case .trained(let index) = places[id.index] { index } else { nil }
  }

  /// 2: a tied table.
  package func useCount(_ id: ParameterID) -> Int { uses[id.index] }

  /// - Parameter mapped: by the index of ``mapped``.
  func view(_ id: ParameterID, trained: TensorSlab, frozen: TensorSlab, mapped: [NarrowMatrix]) -> StoredMatrix {
    switch places[id.index] {
    case .trained(let index): .floats(trained.matrix(index))
    case .frozen(let index): .floats(frozen.matrix(index))
    case .mapped(let index): .narrow(mapped[index])
    }
  }

  /// A tensor of ``whole`` in the memory of either part.
  ///
  /// - Precondition: it isn't mapped.
  package func values(of entry: ParameterLayout.Entry, trained: Vector, frozen: Vector) -> Vector {
    if let place = self.trained.entry(named: entry.name) { return Vector(rebasing: trained[place.range]) }
    return Vector(rebasing: frozen[self.frozen[entry.name].range])
  }

  /// Whether a tensor of ``whole`` is.
  package func isMapped(_ entry: ParameterLayout.Entry) -> Bool { mapped.entry(named: entry.name) != nil }

  /// A tensor by the name that a model's own files have for it: what is trained whole beside adapters has theirs.
  package func entry(ofModel name: String) -> ParameterLayout.Entry {
    whole.entry(named: name) ?? whole[LowRankAdapters.prefix + name]
  }

  /// Of ``frozen``, the adapters' factors: its first elements.
  package var frozenAdapterCount: Int { frozen.prefix { $0.isOfAdapter }.reduce(0) { $0 + $1.count } }

  /// Writes fresh values.
  ///
  /// - Parameter isFresh: which tensors are; the others stay as they are. What is mapped is in a file, and never fresh.
  package func initialise(
    trained: Vector, frozen: Vector, from source: GaussianSource, where isFresh: (ParameterLayout.Entry) -> Bool = { _ in true }
  ) {
    for entry in whole where isFresh(entry) && !isMapped(entry) { entry.initialise(values(of: entry, trained: trained, frozen: frozen), from: source) }
  }
}
