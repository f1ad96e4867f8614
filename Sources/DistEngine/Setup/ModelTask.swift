/// What a model is taken for.
package enum ModelTask: Sendable {
  /// The next token.
  case language
  /// The next token, of texts that the model writes.
  case generation
  /// A label for each record.
  ///
  /// - Parameters:
  ///   - labels: those that are stated; nil: the model's own.
  ///   - allowsNewHead: whether a classifier that the weights lack is drawn afresh: to be trained.
  case classification(labels: [String]?, allowsNewHead: Bool)
  /// Whatever it can do: for measurements, whose records mean nothing.
  case anything

  package var allowsNewHead: Bool {
    switch self {
    case .language, .generation: false
    case .classification(_, let allows): allows
    case .anything: true
    }
  }

  /// The model for this task, and what its user should know.
  ///
  /// - Parameter name: of the preset or directory.
  func model(_ stored: ModelConfiguration, name: String) throws -> (model: ModelConfiguration, notes: [String]) {
    switch self {
    case .language:
      if stored.isEncoder { throw TrainingError.encoderWithoutLabels(model: name) }
      if stored.labels != nil { throw TrainingError.classifierWithoutLabels(model: name) }
      return (stored, [])
    case .generation:
      guard !stored.isEncoder, stored.labels == nil else {
        throw TrainingError.continuesNoText(model: name, isClassifier: stored.labels != nil)
      }
      return (stored, [])
    case .anything: return (stored.isEncoder ? stored.classifying(stored.labels ?? ["0", "1"]) : stored, [])
    case .classification(let stated, let allowsNewHead):
      guard let own = stored.labels else {
        guard allowsNewHead else { throw TrainingError.noClassifier(model: name) }
        guard let stated else { throw TrainingError.noLabels }
        return (stored.classifying(stated), [])
      }
      // The same labels in another order are the model's in its own.
      guard let stated, Set(stated) != Set(own) else { return (stored, []) }
      guard allowsNewHead else { throw TrainingError.otherLabels(model: name, own: own, stated: stated) }
      let renamed = "\(name)'s classifier, for \(Self.listed(own)), is trained on for \(Self.listed(stated)): the labels of --labels in their order"
      return (stored.classifying(stated), own.count == stated.count ? [renamed] : [])
    }
  }

  static func listed(_ labels: [String]) -> String {
    labels.prefix(8).map(\.quotable).joined(separator: ", ") + (labels.count > 8 ? " … (\(labels.count))" : "")
  }
}

extension TrainingConfiguration {
  /// What the options make of a model.
  ///
  /// - Parameter allowsNewHead: whether it is to be trained.
  package func task(allowsNewHead: Bool) -> ModelTask {
    guard labelField != nil else { return .language }
    return .classification(labels: labels ?? (data == [Corpus.builtinName] ? BuiltinCorpus.labels : nil), allowsNewHead: allowsNewHead)
  }
}
