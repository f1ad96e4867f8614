/// What a statement says of the model that its run started from, and of the adapter beside it.
struct StartModelClaim: Encodable, Sendable {
  private let sha256: String?
  /// Of the adapter; nil: none.
  private let adapterSHA256: String?
  /// Their `privacy.json`, without what those say of the models before them, which is in the history.
  private let statement, adapterStatement: JSONValue?

  init(_ start: StartModel) {
    (sha256, adapterSHA256) = (start.weightsDigest, start.adapterDigest)
    statement = Self.claim(start.statement)
    adapterStatement = Self.claim(start.adapterStatement)
  }

  init(sha256: String, adapterSHA256: String, statement: String?, adapterStatement: String?) {
    (self.sha256, self.adapterSHA256) = (sha256, adapterSHA256)
    (self.statement, self.adapterStatement) = (Self.claim(statement), Self.claim(adapterStatement))
  }

  private static func claim(_ text: String?) -> JSONValue? {
    var fields = text.flatMap { try? JSONScanner.parse(file: Array($0.utf8)) }?.object
    fields?["start_model"] = nil
    fields?["history"] = nil
    return fields.map(JSONValue.object)
  }

  private enum CodingKeys: String, CodingKey {
    case sha256, statement
    case adapterSHA256 = "adapter_sha256"
    case adapterStatement = "adapter_statement"
  }
}
