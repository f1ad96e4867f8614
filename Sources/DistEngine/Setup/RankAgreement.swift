extension Communicator {
  /// Refuses, on all ranks together, where what a rank has read or was told differs from what rank 0 has.
  ///
  /// Draws and shares are of places in the data: with other records at the same places the sampling rate is not the stated one.
  /// Collective.
  func requireEqual(_ what: String, _ digest: [UInt8]) throws {
    let digests = try allgather(bytes: digest)
    guard let other = digests.firstIndex(where: { $0 != digests[0] }) else { return }
    let host = String(decoding: try allgather(bytes: Array(host.utf8))[other], as: UTF8.self)
    throw try agreed(TrainingError.ranksDisagree(what: what, rank: other, host: host))
  }

  /// The model's shape and the options of a command that runs on all ranks.
  func requireEqual(_ configuration: TrainingConfiguration, _ model: ModelConfiguration) throws {
    try requireEqual("options", Array("\(configuration)".utf8))
    try requireEqual("model configuration", Array("\(model)".utf8))
  }

  /// The data: what the ranks of each node made together.
  ///
  /// - Returns: the training data's digest.
  @discardableResult
  func requireEqual(training: TokenizedDataset, evaluation: TokenizedDataset?, node: Communicator) throws -> [UInt8] {
    let digest = try training.digest(by: node)
    try requireEqual("--data", digest)
    try requireEqual("--eval-data", evaluation?.digest(by: node) ?? [])
    return digest
  }
}
