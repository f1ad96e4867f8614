import DistEngine
import Foundation
import TestSupport
import Testing

/// Directories of encoders and classifiers: what is read, what is drawn afresh, what is left aside, and what is refused.
@Suite struct ClassifierFileTests {
  private static let fixtures = ["bert-tiny-pairs", "roberta-tiny", "distilbert-tiny", "gpt2-tiny-labels", "llama-tiny-labels"]
  private static let prefixes = ["bert": "bert.", "roberta": "roberta.", "distilbert": "distilbert.", "gpt2": "transformer.", "llama": "model."]

  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func path(_ fixture: String) -> String { "\(Fixtures.directory)/\(fixture)/model" }

  private func tensors(_ fixture: String) throws -> (model: ModelConfiguration, tensors: Tensors, values: [Float]) {
    let model = try ModelFile.readConfiguration(directory: path(fixture)).configuration
    let layout = model.parameterLayout
    let values = try readParameters(path(fixture), layout)
    var tensors = Tensors()
    for entry in layout { tensors.add(entry.name, entry.shape, Array(values[entry.range])) }
    return (model, tensors, values)
  }

  private func write(_ tensors: Tensors) throws { try tensors.write(to: "\(directory.path)/model.safetensors") }

  /// What is read of a directory whose classifier may be missing, into memory that holds 7.
  private func read(_ model: ModelConfiguration) throws -> (values: [Float], notes: [String]) {
    let notes = try ModelFile.checkShapes(directory: directory.path, configuration: model, allowsNewHead: true)
    var values = [Float](repeating: 7, count: model.parameterCount)
    try values.withUnsafeMutableBufferPointer { values in
      try ModelFile.readParameters(directory: directory.path, layout: model.parameterLayout, allowsNewHead: true) {
        UnsafeMutableBufferPointer(rebasing: values[$0.range])
      }
    }
    return (values, notes)
  }

  @Test(arguments: fixtures) func aDirectoryIsWrittenAndReadAgain(fixture: String) throws {
    let (model, _, values) = try tensors(fixture)
    let saved = "\(directory.path)/saved"
    try values.withUnsafeBufferPointer { try ModelFile.write(directory: saved, configuration: model, parameters: $0) }
    #expect(try ModelFile.readConfiguration(directory: saved).configuration == model)
    #expect(try readParameters(saved, model.parameterLayout) == values)
    #expect(try Fixtures.bytes("\(saved)/model.safetensors") == Fixtures.bytes("\(path(fixture))/model.safetensors"))
  }

  @Test(arguments: fixtures) func namesCountWithoutTheirPrefixAndBuffersForNothing(fixture: String) throws {
    var (model, tensors, values) = try tensors(fixture)
    let prefix = Self.prefixes[model.modelType]!
    tensors.rename { $0.hasPrefix(prefix) ? String($0.dropFirst(prefix.count)) : $0 }
    if model.isEncoder { tensors.add("embeddings.position_ids", [1, 4]) }
    try write(tensors)
    #expect(try readParameters(directory.path, model.parameterLayout) == values)
  }

  @Test(arguments: fixtures) func aBaseHasNoClassifierAndAnotherHead(fixture: String) throws {
    let (model, tensors, values) = try tensors(fixture)
    let heads = ["bert": "cls.predictions.bias", "roberta": "lm_head.dense.weight", "distilbert": "vocab_projector.bias", "gpt2": "lm_head.weight", "llama": "lm_head.weight"]
    let isHead = { (name: String) in name.hasPrefix("classifier.") || name.hasPrefix("pre_classifier.") || name.hasPrefix("score.") || name.contains("pooler") }
    var base = tensors.filtered { !isHead($0) }
    base.add(heads[model.modelType]!, [3])
    try write(base)
    let (read, notes) = try read(model)
    for entry in model.parameterLayout {
      #expect(isHead(entry.name) ? read[entry.range].allSatisfy { $0 == 7 } : Array(read[entry.range]) == Array(values[entry.range]), "\(entry.name)")
    }
    let new = model.parameterLayout.map(\.name).filter(isHead)
    #expect(notes.count == 2 && new.allSatisfy { name in notes[0].contains(name) } && notes[1].contains(heads[model.modelType]!))
    // A trained one is needed.
    let missing = try #require(throws: ModelFileError.self) { try readParameters(directory.path, model.parameterLayout) }
    #expect(missing.description.contains(new[0]))
  }

  @Test func aClassifierForOtherLabelsIsDrawnAfreshAndTheLayerBeforeItKept() throws {
    let (stored, tensors, values) = try tensors("roberta-tiny")
    try write(tensors)
    let model = stored.classifying(["yes", "no"])
    let (read, notes) = try read(model)
    #expect(notes.count == 1 && notes[0].contains("classifier.out_proj.bias, classifier.out_proj.weight are new"))
    for entry in model.parameterLayout {
      let isNew = entry.name.hasPrefix("classifier.out_proj.")
      #expect(isNew ? read[entry.range].allSatisfy { $0 == 7 } : Array(read[entry.range]) == Array(values[stored.parameterLayout[entry.name].range]))
    }
  }

  /// A layer of a head is there whole or not at all: nothing is drawn beside what was trained.
  @Test(arguments: [
    ("bert-tiny-pairs", "classifier.bias"), ("bert-tiny-pairs", "classifier.weight"), ("bert-tiny-pairs", "bert.pooler.dense.bias"),
    ("roberta-tiny", "classifier.out_proj.bias"), ("distilbert-tiny", "pre_classifier.weight"),
  ])
  func halfOfAHeadIsRefused(fixture: String, missing: String) throws {
    var (model, tensors, _) = try tensors(fixture)
    tensors.remove(missing)
    try write(tensors)
    for model in [model, model.classifying((model.labels ?? []) + ["one more"])] {
      let error = try #require(throws: ModelFileError.self) { try read(model) }
      #expect(error.description.contains("tensor \(missing) "), "\(error)")
    }
  }

  @Test func whatIsMisshapenOrLeftOverIsNamed() throws {
    var (model, tensors, _) = try tensors("bert-tiny-pairs")
    tensors.add("bert.encoder.layer.9.output.dense.bias", [64])
    try write(tensors)
    let unknown = try #require(throws: ModelFileError.self) { try read(model) }
    #expect(unknown.description.contains("bert.encoder.layer.9.output.dense.bias"))
    tensors.remove("bert.encoder.layer.9.output.dense.bias")
    tensors.remove("bert.pooler.dense.weight")
    tensors.add("bert.pooler.dense.weight", [64, 32])
    try write(tensors)
    let misshapen = try #require(throws: ModelFileError.self) { try read(model) }
    #expect(misshapen.description.contains("bert.pooler.dense.weight"))
    tensors.remove("bert.pooler.dense.weight")
    tensors.remove("bert.embeddings.LayerNorm.bias")
    try write(tensors)
    let missing = try #require(throws: ModelFileError.self) { try read(model) }
    #expect(missing.description.contains("bert.embeddings.LayerNorm.bias"))
  }

  private func configuration(_ json: String) throws -> ModelConfiguration { try ModelConfiguration(json: Data(json.utf8)) }
  private static let sizes =
    "\"vocab_size\": 40, \"hidden_size\": 8, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"intermediate_size\": 12, \"max_position_embeddings\": 20"

  @Test func configurationsOfEncoders() throws {
    let bert = try configuration("{\"model_type\": \"bert\", \(Self.sizes)}")
    #expect(bert.isEncoder && bert.labels == nil && bert.tokenTypes == 2 && bert.positions == 20 && bert.normEpsilon == 1e-12 && bert.activation == .gelu)
    let roberta = try configuration("{\"model_type\": \"roberta\", \"type_vocab_size\": 1, \(Self.sizes)}")
    #expect(roberta.positions == 18 && roberta.tokenTypes == 1 && roberta.eosTokenID == 2 && roberta.padTokenID == 1)
    #expect(roberta.parameterLayout["roberta.embeddings.position_embeddings.weight"].shape == [20, 8])
    let labelled = try configuration(
      "{\"model_type\": \"bert\", \"architectures\": [\"BertForSequenceClassification\"], \"id2label\": {\"1\": \"b\", \"0\": \"a\"}, \(Self.sizes)}")
    #expect(labelled.labels == ["a", "b"])
    for (addition, culprit) in [
      ("\"position_embedding_type\": \"relative_key\"", "position_embedding_type"), ("\"is_decoder\": true", "is_decoder"),
      ("\"hidden_act\": \"relu\"", "hidden_act"), ("\"type_vocab_size\": -1", "type_vocab_size"),
      ("\"architectures\": [\"BertForSequenceClassification\"], \"problem_type\": \"regression\"", "problem_type"),
    ] {
      let error = try #require(throws: ModelConfigurationError.self, "\(addition)") {
        try configuration("{\"model_type\": \"bert\", \(addition), \(Self.sizes)}")
      }
      #expect(error.description.contains(culprit))
    }
    let padded = try #require(throws: ModelConfigurationError.self) {
      try configuration("{\"model_type\": \"roberta\", \"pad_token_id\": 19, \(Self.sizes)}")
    }
    #expect(padded.description.contains("max_position_embeddings"))
  }
}
