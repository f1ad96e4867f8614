import Foundation

/// `dp-mpirun merge`: an adapter added into the model that it stands beside, `W + s·B·A`. One process, without MPI.
public enum AdapterMerge {
  /// Writes a model directory in Hugging Face's layout, with the tokenizer and the adapter's statement of privacy, which covers the merged model: what it
  /// has seen is what both have seen.
  ///
  /// - Parameter note: told what is to be known of the model.
  /// - Throws: where the directory is there already, the adapter was trained beside another model, or nothing says what the adapter has seen and
  ///   something does of the model.
  public static func run(model directory: String, adapter: String, output: String, note: (String) -> Void = { _ in }) throws {
    guard !FileManager.default.fileExists(atPath: output) else { throw AdapterError.outputExists(output) }
    let source = try ModelSource.resolve(directory, task: .anything, adapter: try AdapterRequest(directory: adapter))
    guard source.directory != nil else { throw TrainingError.noWeights(preset: directory) }
    let statement = try statement(model: directory, adapter: adapter)
    source.notes.forEach(note)
    let threads = min(ProcessorAffinity.affordableCores.count, PerformanceOptions.mostThreads)
    let plan = ReplicaPlan(
      model: source.configuration, mode: .standard, capacity: Microbatch.Capacity(units: 1, rows: 1, positions: 1), optimizer: nil,
      computesGradients: false, threads: threads)
    try plan.checkAddressSpace(threads: threads)
    let replica = try ModelReplica(plan)
    try replica.team.use {
      try replica.readParameters(from: directory, adapter: adapter)
      replica.mergeAdapter()
    }
    try AtomicFile.makeDirectory(output)
    if let statement { try AtomicFile.write(statement, to: "\(output)/privacy.json") }
    for file in (source.tokenizer as? FileTokenizer)?.files ?? [] { try AtomicFile.write(file.bytes, to: "\(output)/\(file.name)") }
    let base = source.configuration.base
    try ModelFile.write(directory: output, configuration: base, layout: base.parameterLayout) {
      replica.storedValues(of: plan.table.entry(ofModel: $0.name))
    }
  }

  /// What the adapter's run states; nil where neither it nor the model has a statement.
  private static func statement(model: String, adapter: String) throws -> Data? {
    let path = "\(adapter)/privacy.json"
    guard FileManager.default.fileExists(atPath: path) else {
      guard !FileManager.default.fileExists(atPath: "\(model)/privacy.json") else { throw AdapterError.unsaidTraining(adapter: adapter, model: model) }
      return nil
    }
    let bytes = try FileBytes.read(path)
    let trainedOn = (try? JSONScanner.parse(file: bytes))?.object?["start_model"]?.object?["sha256"]?.string
    let found = try ModelFile.weightsDigest(directory: model)
    if let trainedOn, trainedOn != found {
      throw AdapterError.otherBase(adapter: adapter, trainedOn: trainedOn, model: model, found: found)
    }
    return Data(bytes)
  }
}
