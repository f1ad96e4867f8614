extension TrainingConfiguration {
  /// The fields that are read, with the labels that there are.
  ///
  /// - Parameter modelLabels: the model's, in the order of its ids, as ``ModelTask`` has them: stated by the user or its own; nil: it has none.
  /// - Throws: where there are labels in the data and nobody says which there are: that is public, and isn't found out from the data.
  func recordFields(modelLabels: [String]?) throws -> RecordFields {
    var known: LabelSet?
    if labelField != nil {
      guard let modelLabels else { throw TrainingError.noLabels }
      known = try LabelSet(modelLabels, isModels: labels == nil && data != [Corpus.builtinName])
    }
    return RecordFields(texts: textFields, prompt: promptField, label: labelField, labels: known, unit: unitField)
  }
}
