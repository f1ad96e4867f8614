/// The files of a model of which every rank maps some: each node's own, which must be the same.
///
/// Their headers are compared on all ranks; their content, which takes long, once a node, all nodes at the same time.
struct SharedWeights {
  private let directory: String
  private let communicator: Communicator
  /// Whether this rank reads the files through, for itself and those of its node that see the same.
  private let isReader: Bool
  /// Whether there is more than one reader: else nothing is to be compared.
  private let isCompared: Bool

  /// Refuses where a rank hasn't the files, or others by their headers; nil where no rank maps any. Collective.
  ///
  /// - Parameters:
  ///   - directory: nil: of a preset.
  ///   - mapsAny: whether the model has anything that stays in its files.
  init?(_ stored: StoredTensors, directory: String?, mapsAny: Bool, environment: MPIEnvironment) throws {
    let communicator = environment.world
    guard let directory, try communicator.allreduceMax(mapsAny ? 1 : 0) == 1 else { return nil }
    (self.directory, self.communicator) = (directory, communicator)
    try communicator.agree("model files") { _ = try ModelFile.weightFiles(directory: directory) }
    try communicator.requireEqual("the files of --model", stored.layoutDigest)
    let identities = try environment.node.allgather(bytes: stored.identity)
    isReader = environment.node.rank == 0 || stored.identity != identities[0]
    isCompared = try communicator.allreduceSum(isReader ? 1 : 0) > 1
  }

  /// The SHA-256 of the files, on their readers; nil on other ranks.
  func digest() throws -> String? { isReader ? try ModelFile.weightsDigest(directory: directory) : nil }

  /// Refuses, on all ranks together, where a node's files aren't those of the first. Collective.
  ///
  /// - Parameter digest: as ``digest()`` has it, where the caller has taken it.
  func requireEqual(_ digest: String? = nil) throws {
    guard isCompared else { return }
    let own = try communicator.agree("model files") { try digest ?? self.digest() }
    let first = try communicator.broadcast(bytes: Array((own ?? "").utf8))
    try communicator.requireEqual("the files of --model", own.map { Array($0.utf8) } ?? first)
  }
}
