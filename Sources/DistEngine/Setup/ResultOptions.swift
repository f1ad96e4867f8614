import Crypto
import PrivacyAccounting

/// What shapes a run's result, as it was decided, by the option that says it: a run that goes on must have all of it as it was.
///
/// Left out is what changes rounding alone (ranks, threads, sharding, microbatch, recomputation), and what changes nothing (intervals, time-outs,
/// held-out records). σ is the checkpoint's own.
struct ResultOptions {
  private(set) var values: [String: String] = [:]
  /// Steps decided: they alone may change, see ``requireEqual(_:)``.
  private static let steps = "--steps"
  private let isLengthFree: Bool

  /// - Parameter recordsDigest: of the training records' ids, labels and units, in order.
  init(
    _ configuration: TrainingConfiguration, model: ModelConfiguration, tokenizer: any Tokenizer, recordsDigest: [UInt8], provenance: Provenance,
    datasetSize: Int, steps: Int
  ) {
    // With a budget σ was made for so many steps; a schedule that ends has had its length in every rate.
    isLengthFree = configuration.schedule == .constant && !configuration.hasBudget
    values[Self.steps] = "\(steps)"
    values["--mode"] = configuration.mode.rawValue
    let start = provenance.start.map { $0.weightsDigest ?? "unknown" }
    values["--model"] = start.map { "the model of SHA-256 \($0)" } ?? configuration.model
    values["what is known of the start model's training (its privacy.json, its run's seen/)"] = provenance.start.map { Self.digest($0.knownTraining) } ?? "nothing"
    values["--base-is-public"] = "\(configuration.baseIsPublic)"
    values["--unit"] = configuration.unitField ?? "none"
    values["--tokenizer"] = (tokenizer as? FileTokenizer).map { "tokenizer.json of SHA-256 \($0.digest)" } ?? tokenizer.name
    values["the model's configuration"] = Self.digest(Array("\(model)".utf8))
    values["--data"] = provenance.ownFingerprint.map { "records of fingerprint \($0.prefix(16))" } ?? "unknown"
    values["the records' ids and units (--data, --tokenizer, --seq-len, --unit)"] = Self.digest(recordsDigest)
    values["--trainable"] = configuration.trainable.rawValue
    if let adapters = model.adapters { addAdapters(adapters, start: provenance.start) }
    values["--max-records-per-unit"] = "\(configuration.maxRecordsPerUnit)"
    values["--dataset-size"] = "\(datasetSize)"
    values["--batch-size"] = "\(configuration.batchSize)"
    values["--sampler"] = configuration.sampler.rawValue
    values["--learning-rate"] = "\(configuration.learningRate)"
    values["--schedule"] = configuration.schedule.rawValue
    values["--warmup"] = "\(configuration.warmupSteps)"
    // Left out of float32's, which all checkpoints were of that don't say.
    if let precision = configuration.precision, precision != .f32 { values["--precision"] = precision.rawValue }
    values["--seed"] = configuration.seed.map { "\($0)" } ?? "none"
    switch configuration.optimizer {
    case .sgd(let momentum, let decay):
      (values["--momentum"], values["--weight-decay"]) = ("\(momentum)", "\(decay)")
    case .adamW(let beta1, let beta2, let epsilon, let decay):
      (values["--beta1"], values["--beta2"], values["--epsilon-adam"], values["--weight-decay"]) = ("\(beta1)", "\(beta2)", "\(epsilon)", "\(decay)")
    }
    values["--optimizer"] = configuration.optimizer.name
    if configuration.mode.isPrivate { addPrivacy(configuration, provenance) }
  }

  private mutating func addAdapters(_ adapters: LowRankAdapters, start: StartModel?) {
    values["--adapter"] = start?.adapterDigest.map { "the adapter of SHA-256 \($0)" } ?? "none"
    values["--lora-rank"] = "\(adapters.rank)"
    values["--lora-alpha"] = "\(adapters.alpha)"
    values["--lora-targets"] = adapters.targets.description
    values["--lora-freeze-a"] = "\(adapters.freezesDown)"
  }

  private mutating func addPrivacy(_ configuration: TrainingConfiguration, _ provenance: Provenance) {
    values["--clipping"] = configuration.clipping.rawValue
    values["--max-grad-norm"] = "\(configuration.maxGradNorm)"
    values["--accountant"] = configuration.accountant.rawValue
    values["--target-delta"] = configuration.targetDelta.map { "\($0)" } ?? "1/(10 N0)"
    switch configuration.noise {
    case .multiplier(let sigma)?: values["--noise-multiplier"] = "\(sigma)"
    case .targetEpsilon(let epsilon)?: values["--target-epsilon"] = "\(epsilon)"
    case nil: values["--target-epsilon"] = "\(TrainingConfiguration.builtinTargetEpsilon)"
    }
    let spent = provenance.spent(configuration).map { "\($0.samplingRate):\($0.noiseMultiplier):\($0.steps)" }
    values["what was spent before (--spent, the start model's privacy.json)"] = spent.isEmpty ? "nothing" : spent.joined(separator: ", ")
  }

  private static func digest(_ bytes: [UInt8]) -> String { "SHA-256 " + SHA256.hash(data: bytes).hexadecimal.prefix(16) }

  /// Refuses what differs, by the first name in alphabetical order.
  ///
  /// - Parameter before: of the run that goes on.
  /// - Throws: ``CheckpointError/optionDiffers(option:now:before:hint:)``.
  func requireEqual(_ before: [String: String]) throws(CheckpointError) {
    for option in Set(values.keys).union(before.keys).sorted() {
      let (now, was) = (values[option] ?? "not given", before[option] ?? "not given")
      guard now != was else { continue }
      guard option == Self.steps else { throw .optionDiffers(option: option, now: now, before: was, hint: "") }
      if isLengthFree, let now = Int(now), let was = Int(was), now > was { continue }
      throw .optionDiffers(
        option: option, now: now, before: was,
        hint: isLengthFree ? ", or more" : "; it may be raised with --noise-multiplier (or --mode standard) and --schedule constant")
    }
  }
}

extension TrainingConfiguration {
  /// Whether σ is made for a budget of ε.
  var hasBudget: Bool {
    guard mode.isPrivate else { return false }
    if case .multiplier? = noise { return false }
    return true
  }
}
