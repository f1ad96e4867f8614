import Foundation

/// Where a model comes from, a preset's name or a directory in Hugging Face's layout, with the tokenizer that makes its ids.
package struct ModelSource: Sendable {
  package let configuration: ModelConfiguration
  /// nil for a preset: there are no weights.
  package let directory: String?
  /// Of the adapter that stands beside it; nil: none, or a new one.
  package var adapter: String?
  /// Of its matrices those that may stay in its files.
  package let stored: StoredTensors
  package let tokenizer: any Tokenizer
  /// What its user should know.
  package let notes: [String]
  /// What who trains it should know, too.
  package let trainingNotes: [String]

  /// - Parameter kind: nil: the directory's own; bytes for a preset.
  /// - Throws: also where a directory's weights are not of its configuration's shape, where its ids are those of a tokenizer that isn't
  ///   read here, or where the tokenizer makes more ids than the model knows.
  package static func resolve(
    _ name: String, tokenizer kind: TokenizerKind? = nil, task: ModelTask = .language, adapter: AdapterRequest? = nil
  ) throws -> ModelSource {
    if let preset = ModelPreset(rawValue: name) {
      let tokenizer = try (kind ?? .bytes).make()
      try checkEnd(tokenizer, of: preset.configuration)
      let note = "--model \(name) is the preset, with new parameters; the directory of that name is ./\(name)"
      if case .stored? = adapter { throw TrainingError.adapterOfPreset(preset: name) }
      let (model, _) = try task.model(preset.configuration, name: name)
      try check(tokenizer, fits: model)
      return ModelSource(
        configuration: try adapter?.model(model) ?? model, directory: nil, stored: StoredTensors(), tokenizer: try tokenizer.typed(for: model),
        notes: ModelPreset.isAlsoDirectory(name) ? [note] : [], trainingNotes: [])
    }
    guard FileManager.default.fileExists(atPath: name) else { throw ModelConfigurationError.unknownPreset(name: name) }
    let description = try ModelFile.readConfiguration(directory: name)
    let (unadapted, taskNotes) = try task.model(adapter?.task(of: description.configuration, name: name) ?? description.configuration, name: name)
    let model = try adapter?.model(unadapted) ?? unadapted
    let tokenizer = try tokenizer(ofDirectory: adapter?.tokenizerDirectory ?? name, model, kind)
    try check(tokenizer, fits: model)
    let headNotes = try ModelFile.checkShapes(
      directory: name, configuration: model, allowsNewHead: task.allowsNewHead, adapter: adapter?.directory)
    let tokenizerNotes = kind == nil && tokenizer is FileTokenizer ? ["ids are those of the model's own tokenizer, \(tokenizer.name)"] : []
    let ignored = description.ignoredSettings
    let note = "\(name)/config.json asks for dropout (\(ignored.joined(separator: ", "))), which is not applied; a model written here says 0"
    return ModelSource(
      configuration: model, directory: name, adapter: adapter?.directory,
      stored: try ModelFile.mappableTensors(directory: name, configuration: model, allowsNewHead: task.allowsNewHead || adapter?.directory != nil),
      tokenizer: try tokenizer.typed(for: model),
      notes: tokenizerNotes + taskNotes + headNotes + beginNotes(tokenizer, model) + (adapter?.notes ?? []),
      trainingNotes: ignored.isEmpty ? [] : [note])
  }

  /// Where a language model's tokenizer would begin texts otherwise than its records begin: no one asks its post-processor.
  private static func beginNotes(_ tokenizer: any Tokenizer, _ model: ModelConfiguration) -> [String] {
    guard model.labels == nil, let added = (tokenizer as? FileTokenizer)?.addedBegin, added != tokenizer.startOfText else { return [] }
    return [
      "\(tokenizer.name) puts token \(added) in front of a text; records and prompts begin with \(tokenizer.startOfText), as config.json has it "
        + "(bos_token_id, or eos_token_id where there is none)"
    ]
  }

  private static func check(_ tokenizer: any Tokenizer, fits configuration: ModelConfiguration) throws {
    guard tokenizer.vocabularySize <= configuration.vocabularySize else {
      throw TrainingError.vocabularyTooSmall(tokenizer: tokenizer.vocabularySize, model: configuration.vocabularySize)
    }
  }

  /// A language model's records end with a token that the tokenizer must have where the model doesn't say which.
  private static func checkEnd(_ tokenizer: any Tokenizer, of configuration: ModelConfiguration) throws {
    guard let file = tokenizer as? FileTokenizer, file.namedEnd == nil, !configuration.isEncoder else { return }
    throw TrainingError.noEndOfText(tokenizer: file.name)
  }

  /// Records stand between the ids that the model's configuration says; where it says none, between those that the tokenizer has for it.
  private static func tokenizer(
    ofDirectory directory: String, _ configuration: ModelConfiguration, _ kind: TokenizerKind?
  ) throws -> any Tokenizer {
    let file: FileTokenizer
    switch kind {
    case .bytes?: return ByteTokenizer()
    case .file(let path)?: file = try TokenizerFile.read(path)
    case nil:
      switch ModelFile.tokenizerFile(directory: directory) {
      case nil:
        // What training on bytes writes.
        guard configuration.eosTokenID == Int(ByteTokenizer().endOfText) else { throw TrainingError.noTokenizer(directory: directory) }
        return ByteTokenizer()
      case let own? where own.hasSuffix("/\(TokenizerFile.name)"): file = try TokenizerFile.read(own)
      case let other?: throw TrainingError.foreignTokenizer(file: other)
      }
    }
    guard let end = configuration.eosTokenID else {
      try checkEnd(file, of: configuration)
      return file
    }
    return file.framing(begin: configuration.bosTokenID.map(Int32.init), end: Int32(end))
  }

  /// The model as it is written once it is trained: a language model's texts begin and end with the ids that stand around the records,
  /// whatever stood around those it knew.
  package var trainedConfiguration: ModelConfiguration {
    let (begin, end) = (tokenizer.beginOfText.map { Int($0) }, Int(tokenizer.endOfText))
    let isKept = configuration.isEncoder && tokenizer is FileTokenizer
    let isSaid = begin == configuration.bosTokenID && end == configuration.eosTokenID
    return isKept || isSaid ? configuration : configuration.delimitingTexts(begin: begin, end: end)
  }
}
