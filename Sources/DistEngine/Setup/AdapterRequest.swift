import Foundation

/// The adapter that a model is wanted with.
package enum AdapterRequest: Sendable {
  /// A new one, to be trained.
  case new(LoRAOptions)
  /// A directory's, with what is asked of its training.
  case stored(AdapterFile.Description, LoRAOptions)

  /// nil: no adapter.
  ///
  /// - Throws: of a directory that holds none.
  package init?(_ configuration: TrainingConfiguration) throws {
    if let directory = configuration.adapter {
      self = .stored(try AdapterFile.read(directory: directory), configuration.lora)
    } else if configuration.trainable == .lora {
      self = .new(configuration.lora)
    } else {
      return nil
    }
  }

  /// The same of a command that doesn't train.
  package init?(directory: String?) throws {
    guard let directory else { return nil }
    self = .stored(try AdapterFile.read(directory: directory), LoRAOptions())
  }

  package var directory: String? {
    if case .stored(let stored, _) = self { stored.directory } else { nil }
  }

  var notes: [String] {
    if case .stored(let stored, _) = self { stored.notes } else { [] }
  }

  /// The adapter's, where it has a tokenizer of its own.
  var tokenizerDirectory: String? { directory.flatMap { ModelFile.tokenizerFile(directory: $0) == nil ? nil : $0 } }

  /// The model with it.
  func model(_ model: ModelConfiguration) throws -> ModelConfiguration {
    switch self {
    case .new(let options): try model.adapted(by: options)
    case .stored(let stored, let options): try model.adapted(by: stored, options)
    }
  }

  /// The model for what the adapter was trained for: its `config.json`, where there is one, has the labels and the ids around texts.
  ///
  /// - Throws: where that describes another model.
  func task(of model: ModelConfiguration, name: String) throws -> ModelConfiguration {
    guard let directory, FileManager.default.fileExists(atPath: "\(directory)/config.json") else { return model }
    let own = try ModelFile.readConfiguration(directory: directory).configuration
    let adapted = model.taking(taskOf: own)
    guard adapted == own else { throw AdapterError.otherModel(path: "\(directory)/config.json", model: name) }
    return adapted
  }
}
