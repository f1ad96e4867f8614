/// `README.md` of an adapter, as model hubs read it. Nothing in it is computed from the data, and nothing says where the operator's files lie.
struct AdapterCard {
  let text: String

  /// - Parameter base: the name of the model that it stands beside.
  init(_ model: ModelConfiguration, base: String, statement: PrivacyStatement) {
    let privacy =
      statement.isPrivate
      ? "Trained with differential privacy: epsilon \(statement.epsilon.value) at delta \(statement.delta ?? 0)."
      : "**NOT private**: the warnings below say why."
    var facts = [
      ("trained", statement.scope), ("unit", statement.unit), ("neighbouring relation", statement.relation), ("sampler", statement.sampler),
      ("sampling rate", "\(statement.samplingRate)"), ("noise multiplier", "\(statement.noiseMultiplier)"), ("steps", "\(statement.steps)"),
    ]
    if let norm = statement.maxGradNorm, let clipping = statement.clipping { facts.append(("clipping", "\(clipping), to norm \(norm)")) }
    if let accountant = statement.accountant { facts.append(("accountant", accountant)) }
    text = """
      ---
      base_model: \(Self.quoted(base))
      library_name: peft
      tags:
      - lora
      ---

      # Adapter of low rank

      It stands beside `\(base.withoutControls.replacing("`", with: "'"))`, a model of type \(model.modelType), and needs that model unchanged: `privacy.json` has the SHA-256
      of its weights (`start_model`).

      ## Privacy

      \(privacy)

      | | |
      |---|---|
      \(facts.map { "| \($0.0) | \($0.1.withoutControls.replacing("|", with: "\\|")) |" }.joined(separator: "\n"))

      What that doesn't cover, and what is to be known of it:

      \(statement.warnings.map { "- \($0.withoutControls)" }.joined(separator: "\n"))

      `privacy.json` says the same for programs.

      """
  }

  /// As YAML reads it, which takes JSON's strings.
  private static func quoted(_ text: String) -> String {
    var quoted = "\""
    for character in text.withoutControls {
      if character == "\"" || character == "\\" { quoted.append("\\") }
      quoted.append(character)
    }
    return quoted + "\""
  }
}
