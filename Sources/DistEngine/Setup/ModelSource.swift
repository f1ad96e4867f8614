import Foundation

/// Where a model comes from, a preset's name or a directory in Hugging Face's layout, with the tokenizer that makes its ids.
package struct ModelSource: Sendable {
  package let configuration: ModelConfiguration
  /// nil for a preset: there are no weights.
  package let directory: String?
  package let tokenizer: any Tokenizer
  /// What its user should know.
  package let notes: [String]

  /// - Throws: also where a directory's weights are not of its configuration's shape, where its ids are those of a tokenizer that isn't
  ///   read here, or where the tokenizer makes more ids than the model knows.
  package static func resolve(_ name: String, tokenizer kind: TokenizerKind? = nil, task: ModelTask = .language) throws -> ModelSource {
    let tokenizer = (kind ?? .bytes).make()
    func source(_ configuration: ModelConfiguration, directory: String?, notes: [String]) throws -> ModelSource {
      guard tokenizer.vocabularySize <= configuration.vocabularySize else {
        throw TrainingError.vocabularyTooSmall(tokenizer: tokenizer.vocabularySize, model: configuration.vocabularySize)
      }
      return ModelSource(configuration: configuration, directory: directory, tokenizer: tokenizer, notes: notes)
    }
    if let preset = ModelPreset(rawValue: name) {
      let note = "--model \(name) is the preset, with new parameters; the directory of that name is ./\(name)"
      let (model, _) = try task.model(preset.configuration, name: name)
      return try source(model, directory: nil, notes: ModelPreset.isAlsoDirectory(name) ? [note] : [])
    }
    guard FileManager.default.fileExists(atPath: name) else { throw ModelConfigurationError.unknownPreset(name: name) }
    let description = try ModelFile.readConfiguration(directory: name)
    if kind == nil, let file = ModelFile.tokenizerFile(directory: name) { throw TrainingError.foreignTokenizer(file: file) }
    let (model, taskNotes) = try task.model(description.configuration, name: name)
    let headNotes = try ModelFile.checkShapes(directory: name, configuration: model, allowsNewHead: task.allowsNewHead)
    let ignored = description.ignoredSettings
    let note = "\(name)/config.json asks for dropout (\(ignored.joined(separator: ", "))), which is not applied; a model written here says 0"
    return try source(model, directory: name, notes: (ignored.isEmpty ? [] : [note]) + taskNotes + headNotes)
  }
}
