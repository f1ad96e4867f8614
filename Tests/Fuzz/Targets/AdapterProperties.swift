import DistEngine
import Foundation

/// An adapter beside a model is refused, or is one that is written and read again as the same.
enum AdapterProperties {
  /// A language model and classifiers, of which one's head has two layers.
  private static let models: [ModelConfiguration] = {
    let sizes = "\"hidden_size\": 8, \"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"intermediate_size\": 12, \"vocab_size\": 40"
    let texts = [
      "{\"model_type\": \"gpt2\", \"n_embd\": 8, \"n_layer\": 2, \"n_head\": 2, \"n_positions\": 16, \"vocab_size\": 40}",
      "{\"model_type\": \"bert\", \"max_position_embeddings\": 16, \(sizes), \"architectures\": [\"BertForSequenceClassification\"], "
        + "\"id2label\": {\"0\": \"a\", \"1\": \"b\"}}",
      "{\"model_type\": \"roberta\", \"max_position_embeddings\": 16, \(sizes), \"architectures\": [\"RobertaForSequenceClassification\"], "
        + "\"id2label\": {\"0\": \"a\", \"1\": \"b\"}}",
    ]
    return texts.map { text in
      guard let model = try? ModelConfiguration(json: Data(text.utf8)) else { preconditionFailure("no model: \(text)") }
      return model
    }
  }()

  static func check(_ bytes: [UInt8]) throws(Violation) {
    let parts = bytes.split(separator: 0, maxSplits: 1, omittingEmptySubsequences: false)
    let settings = Array(parts[0])
    let names = parts.count == 1 ? [] : parts[1].split(separator: UInt8(ascii: "\n")).map { String(decoding: $0, as: UTF8.self) }
    guard let stored = try twice({ try AdapterFile.description(settings, directory: "input") { names } }) else { return }
    for model in models {
      guard let adapted = try twice({ try model.adapted(as: stored, LoRAOptions()) }), let adapters = adapted.adapters else { continue }
      let layout = adapted.parameterTable(trainable: .lora).trained
      try require(layout.totalCount > 0, "adapters without a parameter")
      let written = layout.map(\.name)
      let again = try? AdapterFile.description(Array(AdapterFile.json(adapted, model: "base")), directory: "input") { written }
      let read = again.flatMap { try? model.adapted(as: $0, LoRAOptions()) }
      try require(read?.adaptedModules == adapted.adaptedModules, "target_modules as written are other layers")
      try require(read?.adapters?.savedParameters == adapters.savedParameters, "modules_to_save as written are other modules")
      try require(read?.adapters?.scale == adapters.scale, "another scale")
      try require(read?.parameterTable(trainable: .lora).trained.map(\.name) == written, "another adapter")
    }
  }

  /// nil: refused, in a line, and in the same one each time.
  private static func twice<Value: Equatable>(_ read: () throws -> Value) throws(Violation) -> Value? {
    let results = [Result(catching: read), Result(catching: read)]
    let values = results.map { try? $0.get() }
    let refusals = results.map { result in if case .failure(let refusal) = result { "\(refusal)" } else { "" } }
    try require(values[0] == values[1] && refusals[0] == refusals[1], "two readings differ: \(results)")
    if values[0] == nil { try checkLine(refusals[0]) }
    return values[0]
  }
}
