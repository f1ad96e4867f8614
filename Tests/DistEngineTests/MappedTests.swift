import DistEngine
import Foundation
import TestSupport
import Testing

/// Frozen matrices that stay in the model's files.
@Suite struct MappedTests {
  /// A small model's directory, its values rounded to a type and stored so.
  private static func directory(_ model: ModelConfiguration, as type: String, in directory: TemporaryDirectory, offset: Int = 0, shards: Int = 1) throws -> String {
    let values = AlignedBuffer<Float>(count: model.parameterCount)
    SmallModels.fill(values.elements, model)
    try ModelFile.write(directory: "\(directory.path)/f32", configuration: model, parameters: UnsafeBufferPointer(values.elements))
    try StoredModel.write("\(directory.path)/f32", to: "\(directory.path)/\(type)", as: type, offset: offset, shards: shards)
    return "\(directory.path)/\(type)"
  }

  /// - Parameter maps: false: the same numbers, held as floats.
  private static func replica(
    _ directory: String, _ model: ModelConfiguration, _ trainable: TrainableParameters, _ mode: TrainingMode, maps: Bool,
    recompute: Recomputation = .none, microbatch: Int = 3, chunked: Bool = false, computesGradients: Bool = true, threads: Int = 1,
    products: LayerProducts = .float32
  ) throws -> ModelReplica {
    let stored = maps ? try ModelFile.mappableTensors(directory: directory, configuration: model, allowsNewHead: false) : StoredTensors()
    let replica = try ModelReplica(
      ReplicaPlan(
        model: model, mode: mode, maxGradNorm: 0.5, capacity: Microbatch.Capacity(units: microbatch, rows: microbatch * 24, positions: 24, unitsAreRecords: true),
        recompute: recompute, optimizer: nil, trainable: trainable, stored: stored, computesGradients: computesGradients, threads: threads, products: products,
        choices: .init(logits: chunked ? .chunks(rows: 5) : .whole)))
    if model.adapters != nil {
      replica.plan.table.initialise(
        trained: replica.parameters, frozen: replica.frozen, from: GaussianSource(RandomKey(seed: 8).subKey(for: .initialisation))
      ) { $0.isOfAdapter }
      for entry in replica.plan.table.whole where entry.role == .adapterUp {
        GaussianSource(RandomKey(seed: 9).subKey(for: .generation)).add(step: UInt64(entry.index), elements: 0..<entry.count, scale: 0.1, to: replica.values(of: entry))
      }
    }
    try replica.readParameters(from: directory)
    return replica
  }

  /// Every family, tied and not, whatever is trained, in memory that begins at odd bytes: the sums are those of the same numbers held as floats.
  @Test(arguments: ["BF16", "F16"], [TrainableParameters.lora, .bias, .head])
  func theSumsAreThoseOfFloats(type: String, trainable: TrainableParameters) throws {
    let dataset = SmallModels.dataset()
    for (index, base) in try SmallModels.all().enumerated() where trainable != .bias || base.biases != .none {
      let temporary = try TemporaryDirectory()
      let directory = try Self.directory(base, as: type, in: temporary, offset: index % 2, shards: 1 + index % 3)
      let model = trainable == .lora ? SmallAdapters.adapted(base) : base
      for (mode, recompute, microbatch, chunked) in [
        (TrainingMode.standard, Recomputation.none, 4, false), (.hooks, .blocks, 3, true), (.ghost, .none, 1, false), (.ghost, .blocks, 4, true),
      ] {
        func replica(maps: Bool, threads: Int = 1) throws -> ModelReplica {
          try Self.replica(
            directory, model, trainable, mode, maps: maps, recompute: recompute, microbatch: microbatch, chunked: chunked, threads: threads)
        }
        let (held, mapped, team) = (try replica(maps: false), try replica(maps: true), try replica(maps: true, threads: 3))
        #expect(!mapped.plan.table.mapped.isEmpty && held.plan.table.mapped.isEmpty)
        #expect(mapped.plan.table.frozen.allSatisfy { $0.isOfAdapter || $0.shape.count == 1 || $0.role == .table }, "only matrices are mapped")
        for own in [held, mapped] { _ = own.accumulateGradients(of: 0..<dataset.count, in: dataset) }
        team.team.use { _ = team.accumulateGradients(of: 0..<dataset.count, in: dataset) }
        let expected = held.gradientSum.map(Double.init)
        #expect(expected.contains { $0 != 0 })
        for own in [mapped, team] {
          #expect(relativeDistance(own.gradientSum.map(Double.init), expected) < 1e-6, "\(base) \(trainable) \(mode) \(recompute) b \(microbatch)")
        }
        // All of these products are of one tile.
        #expect(mapped.gradientSum.elementsEqual(held.gradientSum), "\(base) \(trainable) \(mode): not the same bits")
      }
    }
  }

  /// Products of bfloat16 are made of a mapped matrix as it lies there; of BF16 the same numbers come of rounding what was widened.
  @Test(arguments: ["BF16", "F16"]) func roundedProductsAreThoseOfFloats(type: String) throws {
    let dataset = SmallModels.dataset()
    for (index, base) in try SmallModels.all().enumerated() {
      let temporary = try TemporaryDirectory()
      let directory = try Self.directory(base, as: type, in: temporary, offset: index % 2)
      let sums = try [false, true].map { maps in
        let replica = try Self.replica(directory, SmallAdapters.adapted(base), .lora, .ghost, maps: maps, products: .bfloat16(.emulated))
        #expect(replica.plan.table.mapped.isEmpty != maps)
        _ = replica.accumulateGradients(of: 0..<dataset.count, in: dataset)
        return Array(replica.gradientSum)
      }
      #expect(sums[0] == sums[1] && sums[0].contains { $0 != 0 }, "\(base)")
    }
  }

  /// Passes alone map what would be trained, too.
  @Test(arguments: ["BF16", "F16"]) func lossesAreThoseOfFloats(type: String) throws {
    let dataset = SmallModels.dataset()
    for model in try SmallModels.all() {
      let temporary = try TemporaryDirectory()
      let directory = try Self.directory(model, as: type, in: temporary)
      let losses = try [false, true].map { maps in
        let replica = try Self.replica(directory, model, .all, .standard, maps: maps, computesGradients: false)
        #expect(replica.plan.table.mapped.isEmpty != maps)
        return replica.loss(of: 0..<dataset.count, in: dataset).sum
      }
      #expect(losses[0] == losses[1] && losses[0].isFinite)
    }
  }

  /// Nothing of what is trained is mapped, nor anything of another width.
  @Test func whatIsTrainedIsInMemory() throws {
    let model = try SmallModels.configuration(tied: true)
    for (type, trainable, maps) in [("BF16", TrainableParameters.all, false), ("BF16", .head, true), ("F32", .lora, false)] {
      let temporary = try TemporaryDirectory()
      let directory = type == "F32" ? "\(temporary.path)/f32" : try Self.directory(model, as: type, in: temporary)
      if type == "F32" { _ = try Self.directory(model, as: "BF16", in: temporary) }
      let own = trainable == .lora ? SmallAdapters.adapted(model) : model
      let replica = try Self.replica(directory, own, trainable, .standard, maps: true)
      #expect(!replica.plan.table.mapped.isEmpty == maps && (replica.mapped != nil) == maps, "\(type) \(trainable)")
      for entry in replica.plan.table.trained { #expect(replica.plan.table.mapped.entry(named: entry.name) == nil) }
    }
  }

  /// What is written of a model with mapped tensors is all of it.
  @Test func aMappedModelIsWrittenWhole() throws {
    let temporary = try TemporaryDirectory()
    let model = try SmallModels.llama(tied: false)
    let directory = try Self.directory(model, as: "F16", in: temporary)
    let replica = try Self.replica(directory, model, .head, .standard, maps: true)
    let copy = "\(temporary.path)/copy"
    try ModelFile.write(directory: copy, configuration: model, layout: replica.plan.table.whole) { replica.storedValues(of: $0) }
    let (before, after) = (try TensorFile("\(directory)/model.safetensors"), try TensorFile("\(copy)/model.safetensors"))
    #expect(before.names == after.names)
    for name in before.names { #expect(before[name] == after[name], "\(name)") }
  }

  // MARK: Files

  @Test func infinityIsRefusedByName() throws {
    let temporary = try TemporaryDirectory()
    let model = SmallAdapters.adapted(try SmallModels.llama(tied: false))
    let directory = try Self.directory(model.base, as: "BF16", in: temporary)
    let path = "\(directory)/model.safetensors"
    let file = try SafetensorsFile(path: path)
    let tensor = try #require(file.tensor(named: "model.layers.1.mlp.up_proj.weight"))
    var bytes = try Data(contentsOf: URL(filePath: path))
    let start = bytes.count - file.tensors.reduce(0) { max($0, $1.byteRange.upperBound) }
    bytes[start + tensor.byteRange.upperBound - 2] = 0x80
    bytes[start + tensor.byteRange.upperBound - 1] = 0x7F
    try bytes.write(to: URL(filePath: path))
    let error = try #require(throws: ModelFileError.self) { try Self.replica(directory, model, .lora, .ghost, maps: true) }
    #expect(error == .notFinite(path: path, tensor: tensor.name))
  }

  /// Cut, touched, replaced or gone: it isn't what it was.
  @Test(arguments: ["truncate -s -2", "touch -d '2001-01-01'", "cp --remove-destination /dev/null", "rm"]) func aChangedFileIsSeen(change: String) throws {
    let temporary = try TemporaryDirectory()
    let model = SmallAdapters.adapted(try SmallModels.llama(tied: true))
    let directory = try Self.directory(model.base, as: "BF16", in: temporary, shards: 2)
    let stored = try ModelFile.mappableTensors(directory: directory, configuration: model, allowsNewHead: false)
    let replica = try Self.replica(directory, model, .lora, .ghost, maps: true)
    let mapped = try #require(replica.mapped)
    try mapped.checkUnchanged()
    let path = "\(directory)/model-2.safetensors"
    let outcome = try MPILauncher(executable: URL(filePath: "/bin/sh")).run(["-c", "\(change) '\(path)'"], ranks: nil)
    #expect(outcome.status == 0, "\(outcome.standardError)")
    let error = try #require(throws: FileError.self) { try mapped.checkUnchanged() }
    #expect(error.path == path && error.description.contains("changed"), "\(error)")
    // Nor is it what was planned with.
    #expect(throws: (any Error).self) { try stored.map(replica.plan.table.mapped.map(\.name)) }
  }

  // MARK: Memory

  /// A directory of the shape of a preset whose files have no blocks on the disk.
  private static func hollow(_ model: ModelConfiguration, in directory: TemporaryDirectory) throws -> String {
    var (fields, offset): ([String], Int) = ([], 0)
    for entry in model.parameterLayout {
      fields.append("\"\(entry.name)\":{\"dtype\":\"BF16\",\"shape\":\(entry.shape),\"data_offsets\":[\(offset),\(offset + 2 * entry.count)]}")
      offset += 2 * entry.count
    }
    let header = Data("{\(fields.joined(separator: ","))}".utf8)
    let path = "\(directory.path)/model.safetensors"
    try (withUnsafeBytes(of: UInt64(header.count).littleEndian) { Data($0) } + header).write(to: URL(filePath: path))
    let file = try FileHandle(forWritingTo: URL(filePath: path))
    try file.truncate(atOffset: UInt64(8 + header.count + offset))
    try model.json().write(to: URL(filePath: "\(directory.path)/config.json"))
    return directory.path
  }

  /// The base once a node; of a rank's own no float of it, and less than 2.5 GB for 512 rows of a model of seven billion parameters.
  @Test(arguments: [TrainingMode.ghost, .standard]) func sevenBillionParametersNeedTheirFileAndLittleMore(mode: TrainingMode) throws {
    let temporary = try TemporaryDirectory()
    let preset = ModelPreset.llama7B.configuration
    let directory = try Self.hollow(preset, in: temporary)
    let model = preset.adapted(by: LowRankAdapters(rank: 8, alpha: 16, targets: .allLinear, names: .peft))
    let stored = try ModelFile.mappableTensors(directory: directory, configuration: model, allowsNewHead: false)
    let plan = ReplicaPlan(
      model: model, mode: mode, capacity: Microbatch.Capacity(units: 1, rows: 512, positions: 512), recompute: .blocks,
      optimizer: .adamW(beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0), trainable: .lora, stored: stored, threads: 2)
    let matrices = preset.parameterLayout.filter { $0.shape.count == 2 }.reduce(0) { $0 + $1.count }
    #expect(plan.memory.byteCount(in: .file) == 2 * matrices && matrices > 6_700_000_000)
    #expect(plan.memory.byteCount(in: .file, category: .mappedParameters) == 2 * matrices)
    #expect(plan.byteCount < 2500 << 20, "\(plan.byteCount >> 20) MB of a rank's own")
    #expect(plan.memory.byteCountOfRank == plan.byteCount + 2 * matrices)
    // Pages of a file count once for all ranks of a node.
    let limit = { (bytes: Int) in
      NodeLimit(host: "a", ranks: 4, available: AvailableMemory(byteCount: bytes, limit: "MemAvailable", sharedByteCount: nil), budget: nil)
    }
    #expect(limit(0).needed(by: plan) == 4 * plan.byteCount + 2 * matrices)
    let reserve = 4 * NodeLimit.reservePerRank
    #expect(limit(4 * plan.byteCount + 2 * matrices + reserve).refusal(of: plan) == nil)
    #expect(limit(4 * plan.byteCount + 2 * matrices + reserve - 1).refusal(of: plan) != nil)
  }
}
