/// Whether a model is the one that an adapter was trained beside.
enum AdapterBase {
  /// Compares the model's weights with what the adapter's statement says of them.
  ///
  /// - Returns: what is to be known where nothing says it.
  /// - Throws: where they are other ones, or the statement is damaged.
  static func check(adapter: String, model: String) throws -> [String] {
    let path = "\(adapter)/privacy.json"
    guard let trainedOn = try StatedTraining(path: path)?.stated.startModel?.sha256 else {
      return ["\(path) doesn't say beside which model the adapter was trained: that it was \(model) isn't checked"]
    }
    try require(trainedOn, adapter: adapter, model: model, digest: ModelFile.weightsDigest(directory: model))
    return []
  }

  /// - Parameter digest: of the model's weights.
  static func require(_ trainedOn: String, adapter: String, model: String, digest: String) throws(AdapterError) {
    guard trainedOn != digest else { return }
    throw .otherBase(adapter: adapter, trainedOn: trainedOn, model: model, found: digest)
  }
}
