extension TrainingConfiguration {
  /// The fields that are read, with the labels that there are.
  ///
  /// - Parameter modelLabels: the model's own, in the order of its ids; nil: it has none.
  /// - Throws: where there are labels in the data and nobody says which there are: that is public, and isn't found out from the data.
  func recordFields(modelLabels: [String]? = nil) throws -> RecordFields {
    var known: LabelSet?
    if labelField != nil {
      if let labels {
        known = try LabelSet(labels)
      } else if data == [Corpus.builtinName] {
        known = try LabelSet(BuiltinCorpus.labels)
      } else if let modelLabels {
        known = try LabelSet(modelLabels, isModels: true)
      } else {
        throw TrainingError.noLabels
      }
    }
    return RecordFields(texts: textFields, prompt: promptField, label: labelField, labels: known, unit: unitField)
  }
}
