import Foundation

/// `dp-mpirun merge`: an adapter added into the model that it stands beside, `W + s·B·A`. One process, without MPI.
public enum AdapterMerge {
  /// Writes a model directory in Hugging Face's layout, with the tokenizer and a statement of privacy (``MergedStatement``): what it has seen is what
  /// both have seen.
  ///
  /// - Parameter note: told what is to be known of the model.
  /// - Throws: where the directory is there already, the adapter was trained beside another model, or it can't be said what both have seen.
  public static func run(model directory: String, adapter: String, output: String, note: (String) -> Void = { _ in }) throws {
    var output = output
    while output.count > 1, output.last == "/" { output.removeLast() }
    guard !FileManager.default.fileExists(atPath: output) else { throw AdapterError.outputExists(output) }
    let source = try ModelSource.resolve(directory, task: .anything, adapter: try AdapterRequest(directory: adapter))
    guard source.directory != nil else { throw TrainingError.noWeights(preset: directory) }
    let statement = try MergedStatement(model: directory, adapter: adapter).json
    let unsaid = "neither \(directory) nor \(adapter) has a privacy.json: what the merged model has seen isn't said"
    (source.notes + (statement == nil ? [unsaid] : try AdapterBase.check(adapter: adapter, model: directory))).forEach(note)
    let threads = min(ProcessorAffinity.affordableCores.count, PerformanceOptions.mostThreads)
    let plan = ReplicaPlan(
      model: source.configuration, mode: .standard, capacity: Microbatch.Capacity(units: 1, rows: 1, positions: 1), optimizer: nil,
      trainable: source.configuration.trainedByDefault, computesGradients: false, threads: threads)
    try plan.checkAddressSpace(threads: threads)
    let replica = try ModelReplica(plan)
    try replica.team.use {
      try replica.readParameters(from: directory, adapter: adapter)
      replica.mergeAdapter()
    }
    if let tensor = replica.firstMergedNotFinite { throw AdapterError.notFinite(path: "\(directory) and \(adapter) together", tensor: tensor) }
    let aside = AtomicFile.aside(output)
    do {
      try write(replica, source, statement, to: aside)
      guard rename(aside, output) == 0 else { throw FileError(path: output, action: "written") }
    } catch {
      try? FileManager.default.removeItem(atPath: aside)
      throw error
    }
    try AtomicFile.flushDirectory(AtomicFile.directory(of: output))
  }

  /// Nothing has the output's name before all of it is there.
  private static func write(_ replica: ModelReplica, _ source: ModelSource, _ statement: Data?, to output: String) throws {
    try AtomicFile.makeDirectory(output)
    if let statement { try AtomicFile.write(statement, to: "\(output)/privacy.json") }
    for file in (source.tokenizer as? FileTokenizer)?.files ?? [] { try AtomicFile.write(file.bytes, to: "\(output)/\(file.name)") }
    let base = source.configuration.base
    try ModelFile.write(directory: output, configuration: base, layout: base.parameterLayout) {
      replica.storedValues(of: replica.plan.table.entry(ofModel: $0.name))
    }
  }
}
