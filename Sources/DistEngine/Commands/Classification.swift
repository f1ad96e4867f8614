import Foundation

/// `dp-mpirun classify`: a label and its probabilities for each record, computed without noise.
public enum Classification {
  /// Records whose probabilities are in memory at a time.
  private static let slice = 1 << 16

  /// Reads model and records, computes, and writes a line of JSON for each record, in their order, on rank 0: the file appears whole or not at
  /// all. Collective, the records are split over the ranks.
  ///
  /// - Parameters:
  ///   - configuration: model and data, with the fields of the texts.
  ///   - note: told, on rank 0 and before anything is computed, what is to be known of the records.
  public static func run(
    _ configuration: TrainingConfiguration, writingTo path: String, environment: MPIEnvironment, note: (String) -> Void = { _ in }
  ) throws {
    let loaded = try ModelOnData(
      configuration, task: .classification(labels: nil, allowsNewHead: false), verb: "classified", environment: environment, note: note)
    try loaded.replica.team.use { try write(loaded, to: path, environment.world) }
  }

  /// What rank 0 can't write ends all ranks, whenever that is known.
  private static func write(_ loaded: ModelOnData, to path: String, _ communicator: Communicator) throws {
    var failure: (any Error)?
    if communicator.rank == 0 {
      var isOpen = false
      do {
        try AtomicFile.write(to: path) { writer in
          isOpen = true
          try classify(loaded, communicator) { try writer.append($0) }
        }
      } catch {
        if isOpen && !(error is FileError) { throw error }
        failure = error
        if !isOpen { try communicator.agree("output") { throw error } }
      }
    } else {
      try classify(loaded, communicator) { _ in }
    }
    try communicator.agree("output") { if let failure { throw failure } }
  }

  private static func classify(_ loaded: ModelOnData, _ communicator: Communicator, _ append: ([UInt8]) throws -> Void) throws {
    try communicator.agree("output") {}
    let (dataset, labels) = (loaded.dataset, loaded.replica.plan.configuration.labels ?? [])
    let lines = LabelLines(labels)
    for first in stride(from: 0, to: dataset.count, by: slice) {
      let records = first..<min(first + slice, dataset.count)
      let values = AlignedBuffer<Float>(count: records.count * labels.count)
      values.elements.update(repeating: 0)
      loaded.replica.classify(
        stride(from: first + communicator.rank, to: records.upperBound, by: communicator.size), in: dataset
      ) { record, logits in
        let place = (record - first) * labels.count
        for (label, value) in LabelProbabilities(logits).values.enumerated() { values.elements[place + label] = Float(value) }
      }
      try loaded.replica.checkFiles(communicator)
      // Each record is one rank's, and 0 on the others.
      try communicator.allreduceSum(values)
      try communicator.agree("output") {
        for record in 0..<records.count {
          let own = values.elements[record * labels.count..<(record + 1) * labels.count]
          guard own.allSatisfy(\.isFinite) else { throw TrainingError.logitsNotFinite(record: first + record + 1) }
          if communicator.rank == 0 { try append(lines.line(Array(own))) }
        }
      }
    }
  }
}

/// `{"label":"spam","probabilities":{"ham":0.02,"spam":0.98}}`
struct LabelLines {
  /// As JSON.
  private let names: [String]

  init(_ labels: [String]) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .withoutEscapingSlashes
    names = labels.map { label in
      guard let list = try? encoder.encode([label]) else { preconditionFailure("a label that is no text") }
      return String(decoding: list.dropFirst().dropLast(), as: UTF8.self)
    }
  }

  func line(_ probabilities: [Float]) -> [UInt8] {
    let likeliest = probabilities.indices.reduce(0) { probabilities[$1] > probabilities[$0] ? $1 : $0 }
    let all = zip(names, probabilities).map { "\($0):\($1)" }.joined(separator: ",")
    return Array("{\"label\":\(names[likeliest]),\"probabilities\":{\(all)}}\n".utf8)
  }
}
