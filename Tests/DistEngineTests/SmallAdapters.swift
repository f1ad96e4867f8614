import DistEngine
import TestSupport

/// Small models with adapters, and what they amount to.
enum SmallAdapters {
  static func adapted(
    _ model: ModelConfiguration, targets: LowRankAdapters.Targets = .allLinear, isRankStabilized: Bool = false, freezesDown: Bool = false
  ) -> ModelConfiguration {
    let saved = model.parameterLayout.filter { $0.role == .classifier }.map(\.name)
    return model.adapted(
      by: LowRankAdapters(
        rank: 3, alpha: 5, targets: targets, names: .peft, isRankStabilized: isRankStabilized, freezesDown: freezesDown, savedParameters: saved))
  }

  static func fill(_ replica: ModelReplica) {
    let whole = AlignedBuffer<Float>(count: replica.plan.table.whole.totalCount)
    SmallModels.fill(whole.elements, replica.plan.configuration)
    for entry in replica.plan.table.whole { _ = replica.values(of: entry).update(fromContentsOf: whole.elements[entry.range]) }
  }

  static func replica(
    _ mode: TrainingMode, _ clipping: Clipping, _ model: ModelConfiguration, recompute: Recomputation = .none, microbatch: Int = 3,
    chunked: Bool = false, keepsOnlyExample: Bool = false, threads: Int = 1
  ) throws -> ModelReplica {
    let plan = ReplicaPlan(
      model: model, mode: mode, clipping: clipping, maxGradNorm: 0.5,
      capacity: Microbatch.Capacity(units: microbatch, rows: microbatch * 24, positions: 24, unitsAreRecords: true), recompute: recompute,
      optimizer: .adamW(beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1), trainable: .lora, threads: threads,
      choices: .init(logits: chunked ? .chunks(rows: 5) : .whole, keepsOnlyExample: keepsOnlyExample))
    let replica = try ModelReplica(plan)
    fill(replica)
    return replica
  }

  /// The model's tensors by name with `W + s·B·A` in the place of every adapted weight, in Double.
  static func merged(_ replica: ModelReplica) -> [String: [Double]] {
    let model = replica.plan.configuration
    let table = replica.plan.table
    func values(_ name: String) -> [Double] { replica.values(of: table.whole[name]).map(Double.init) }
    var tensors = Dictionary(
      uniqueKeysWithValues: model.base.parameterLayout.map { ($0.name, replica.values(of: table.entry(ofModel: $0.name)).map(Double.init)) })
    for names in model.factors {
      let (r, d) = (table.whole[names.down].shape[0], table.whole[names.down].shape[1])
      let p = table.whole[names.up].shape[0]
      let (down, up) = (values(names.down), values(names.up))
      for i in 0..<d {
        for o in 0..<p {
          let product = (0..<r).reduce(0.0) { $0 + up[o * r + $1] * down[$1 * d + i] }
          tensors[names.weight]![model.storesInputByOutput ? i * p + o : o * d + i] += model.adapters!.scale * product
        }
      }
    }
    return tensors
  }

  /// What a gradient of the merged model's tensors is for the trained ones: `dA = s·Bᵀ·G`, `dB = s·G·Aᵀ`, `G [p,d]` of the weight.
  static func projected(_ gradient: (String) -> [Double], onto replica: ModelReplica) -> [[Double]] {
    let model = replica.plan.configuration
    let table = replica.plan.table
    func values(_ name: String) -> [Double] { replica.values(of: table.whole[name]).map(Double.init) }
    var found: [String: [Double]] = [:]
    for names in model.factors {
      let (r, d) = (table.whole[names.down].shape[0], table.whole[names.down].shape[1])
      let p = table.whole[names.up].shape[0]
      let (down, up, G, s) = (values(names.down), values(names.up), gradient(names.weight), model.adapters!.scale)
      let at = { (o: Int, i: Int) in G[model.storesInputByOutput ? i * p + o : o * d + i] }
      found[names.down] = (0..<r * d).map { place in s * (0..<p).reduce(0.0) { $0 + up[$1 * r + place / d] * at($1, place % d) } }
      found[names.up] = (0..<p * r).map { place in s * (0..<d).reduce(0.0) { $0 + at(place / r, $1) * down[place % r * d + $1] } }
    }
    return table.trained.map { entry in
      found[entry.name] ?? gradient(String(entry.name.dropFirst(LowRankAdapters.prefix.count)))
    }
  }
}
