extension TrainingConfiguration {
  /// Refuses adapters that no model can have.
  func validateAdapters(
    _ check: (Bool, String, Any, String) throws(TrainingError) -> Void
  ) throws(TrainingError) {
    if let rank = lora.rank { try check((1...LoRAOptions.mostRank).contains(rank), "--lora-rank", rank, "1 to \(LoRAOptions.mostRank)") }
    if let alpha = lora.alpha {
      let isUsable = LowRankAdapters.isUsable(alpha: alpha, rank: lora.rank ?? LoRAOptions.standardRank)
      try check(isUsable, "--lora-alpha", alpha, LowRankAdapters.usableAlpha)
    }
    if case .modules(let names)? = lora.targets {
      try check(
        !names.isEmpty && !names.contains(""), "--lora-targets", names.joined(separator: ","),
        "names of linear layers, as q_proj,v_proj, or \(LowRankAdapters.Targets.allLinearName)")
    }
    if adapter != nil && trainable != .lora {
      throw .conflictingOptions(
        "--trainable \(trainable.rawValue): with --adapter it is the adapter that is trained: leave out --trainable, or merge the adapter first")
    }
    if trainable != .lora && lora != LoRAOptions() {
      throw .conflictingOptions("--lora-rank, --lora-alpha, --lora-targets and --lora-freeze-a are for --trainable lora")
    }
  }
}
