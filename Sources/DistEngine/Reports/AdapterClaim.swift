/// What an adapter is, as statements and `run.json` say it. Nothing in it is computed from the data.
struct AdapterClaim: Encodable, Sendable {
  let rank: Int
  let alpha: Double
  /// The linear layers that are adapted, as `target_modules` has them.
  let targets: [String]
  let isRankStabilized: Bool
  /// Whether A stayed as it was.
  let freezesA: Bool
  /// What is trained whole beside.
  let modulesToSave: [String]

  /// nil: no adapters.
  init?(_ model: ModelConfiguration) {
    guard let adapters = model.adapters else { return nil }
    (rank, alpha, isRankStabilized, freezesA) = (adapters.rank, adapters.alpha, adapters.isRankStabilized, adapters.freezesDown)
    (targets, modulesToSave) = (model.writtenTargets, model.savedModules)
  }

  private enum CodingKeys: String, CodingKey {
    case rank, alpha, targets
    case isRankStabilized = "rank_stabilized"
    case freezesA = "freezes_a"
    case modulesToSave = "modules_to_save"
  }

  /// In words: `adapters of rank 8 (alpha 16) beside c_attn, c_proj, and the modules score`.
  var words: String {
    "adapters of rank \(rank) (alpha \(alpha)\(isRankStabilized ? " over the root of the rank" : "")) beside \(targets.joined(separator: ", "))"
      + (freezesA ? ", of which B alone was trained" : "")
      + (modulesToSave.isEmpty ? "" : ", and the modules \(modulesToSave.joined(separator: ", "))")
  }
}
