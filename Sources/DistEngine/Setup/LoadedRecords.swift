import Crypto

/// The records of a run as sequences, read by the ranks of each node side by side.
struct LoadedRecords {
  let training: TokenizedDataset
  /// nil where there are none.
  let evaluation: TokenizedDataset?
  /// Of the training records, whole and as they were read; on the first rank, where it was asked for.
  let hashes: RecordHashes?

  /// Collective, where there are ranks.
  ///
  /// - Parameters:
  ///   - environment: nil: this process alone.
  ///   - hashesRecords: the same on the ranks of a node.
  ///   - progress: told, on rank 0, how far the reading of large data is.
  init(
    _ configuration: TrainingConfiguration, model: ModelConfiguration, tokenizer: some Tokenizer, hashesRecords: Bool = false,
    environment: MPIEnvironment?, progress: (String) -> Void = { _ in }
  ) throws {
    let ranks = environment.map { DataRanks(world: $0.world, node: $0.node) }
    let find = {
      try Self.checkLength(configuration, model)
      let fields = try configuration.recordFields(modelLabels: model.labels)
      return (fields, try Corpus(data: configuration.data, evaluation: configuration.evaluationData, fields: fields))
    }
    var (fields, corpus) = try ranks.map { try $0.world.agree("data", find) } ?? find()
    try ranks?.requireSameFiles("--data", corpus.training, configuration.data)
    if let heldOut = corpus.heldOut { try ranks?.requireSameFiles("--eval-data", heldOut, configuration.evaluationData) }
    let isFirst = environment?.world.rank ?? 0 == 0
    func load(_ sources: [RecordSource], _ files: [String], hashesRecords: Bool) throws -> (TokenizedDataset, RecordHashes?) {
      let loader = SequenceLoader(
        tokenizer: tokenizer, format: model.labels == nil ? SequenceFormat.language(tokenizer) : .classification,
        longestSequence: configuration.sequenceLength ?? model.defaultSequence, fields: fields, ranks: ranks)
      var reading = ReadingProgress()
      let (dataset, hashes) = try loader.load(sources, hashesRecords: hashesRecords) { bytes, total in
        if isFirst, let line = reading.line(bytes, of: total) { progress(line) }
      }
      let check = {
        guard dataset.countedTargetCount > 0 else { throw TrainingError.nothingCounts(data: files.joined(separator: ", ")) }
      }
      try environment.map { try $0.world.agree("data", check) } ?? check()
      return (dataset, hashes)
    }
    (training, hashes) = try load(corpus.training, configuration.data, hashesRecords: hashesRecords)
    fields.unit = nil
    evaluation = try corpus.heldOut.map { try load($0, configuration.evaluationData, hashesRecords: false).0 }
  }

  private static func checkLength(_ configuration: TrainingConfiguration, _ model: ModelConfiguration) throws {
    guard let length = configuration.sequenceLength else { return }
    guard length <= model.positions else { throw TrainingError.sequenceLongerThanModel(length: length, positions: model.positions) }
    if let window = model.slidingWindow, length > window { throw TrainingError.sequenceLongerThanWindow(length: length, window: window) }
  }
}

extension DataRanks {
  /// Refuses, on all ranks together, where the ranks of a node, each of which reads a part, don't see the same files: by device, inode, size and time of
  /// the last change, else by content. Whether the nodes' are the same, the data sets will tell. Collective.
  fileprivate func requireSameFiles(_ what: String, _ sources: [RecordSource], _ paths: [String]) throws {
    let own = sources.compactMap(\.identity)
    let all = try node.allgather(bytes: own.withUnsafeBytes { [UInt8]($0) })
    guard try world.allreduceMin(all.allSatisfy { $0 == all[0] } ? 1 : 0) == 0 else { return }
    let digest = try world.agree("data") {
      try paths.flatMap { path in
        var hash = SHA256()
        try FileBytes.forEachPiece(of: path) { hash.update(bufferPointer: $0) }
        return Array(hash.finalize())
      }
    }
    try world.requireEqual(what, digest)
  }
}

/// How far the reading of large data is, now and then.
private struct ReadingProgress {
  private static let leastBytes = 64 << 20
  private static let interval = Duration.seconds(5)

  private let start = ContinuousClock.now
  private var last = ContinuousClock.now

  mutating func line(_ bytes: Int, of total: Int) -> String? {
    let now = ContinuousClock.now
    guard total >= Self.leastBytes, now - last >= Self.interval else { return nil }
    last = now
    return "reading the data: \(bytes >> 20) of \(total >> 20) MB after \((now - start).components.seconds) s"
  }
}
