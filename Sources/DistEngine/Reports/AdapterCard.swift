/// `README.md` of an adapter, as model hubs read it. Nothing in it is computed from the data.
struct AdapterCard {
  let text: String

  init(_ model: ModelConfiguration, base: String, statement: PrivacyStatement) {
    guard let adapters = model.adapters else { preconditionFailure("a card for no adapter") }
    let privacy =
      statement.isPrivate
      ? "Trained with differential privacy: epsilon \(statement.epsilon.value) at delta \(statement.delta ?? 0), unit: \(statement.unit). "
        + "`privacy.json` says what that covers and what it doesn't."
      : "NOT private: `privacy.json` says why."
    text = """
      ---
      base_model: \(JSONValue.string(base))
      library_name: peft
      tags:
      - lora
      ---

      # Adapter of low rank

      Rank \(adapters.rank), alpha \(adapters.alpha), beside \(model.writtenTargets.joined(separator: ", ")) of a model of type \(model.modelType). It needs the
      model that it was trained beside, unchanged: `privacy.json` has the SHA-256 of its weights (`start_model`).

      \(privacy)

      """
  }
}
