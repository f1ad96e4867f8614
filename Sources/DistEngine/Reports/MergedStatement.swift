import Foundation

/// The statement of a model that an adapter was added into: the adapter's own, with what the model has been through. What is not private in either part
/// is not private in the whole.
struct MergedStatement {
  /// `privacy.json`; nil where neither part has a statement.
  let json: Data?

  /// - Throws: where a statement is damaged, the adapter was trained beside another model, or it can't be said what the whole has seen.
  init(model: String, adapter: String) throws {
    let own = try StatedTraining(path: "\(adapter)/privacy.json")
    let base = try StatedTraining(path: "\(model)/privacy.json", unit: own?.stated.unit ?? "record")
    guard let own else {
      guard base == nil else { throw AdapterError.unsaidTraining(adapter: adapter, model: model) }
      json = nil
      return
    }
    let digest = try ModelFile.weightsDigest(directory: model)
    if let trainedOn = own.stated.startModel?.sha256 {
      try AdapterBase.require(trainedOn, adapter: adapter, model: model, digest: digest)
    } else if base != nil {
      throw AdapterError.unsaidBase(adapter: adapter, model: model)
    }
    let claim = StartModelClaim(
      sha256: digest, adapterSHA256: try AdapterFile.digest(directory: adapter), statement: base?.text, adapterStatement: own.text)
    json = try JSONEncoder.files.encode(Self.fields(own, base, claim)) + Data("\n".utf8)
  }

  private static func fields(_ own: StatedTraining, _ base: StatedTraining?, _ claim: StartModelClaim) throws -> [String: JSONValue] {
    let before = own.earlier
    let trainings = base?.trainings(isStatedElsewhere: false) ?? []
    // What the adapter's run didn't know of is in none of its numbers.
    let unknown = trainings.contains { training in !before.contains { EarlierTraining.areOne($0, training) } }
    var warnings = own.stated.warnings ?? []
    warnings.append(
      "an adapter was added into its model: epsilon, unit and the rest are of the adapter's training; history and start_model have the model's own")
    var isPrivate = own.stated.isPrivate
    // Where the model comes without its statement, the adapter's has kept it.
    if (base?.stated.isPrivate ?? own.stated.startModel?.statement?.isPrivate) == false {
      isPrivate = false
      warnings.append("the model that the adapter was added into isn't private: what was made of both is NOT private")
    }
    if unknown {
      isPrivate = false
      warnings.append("the adapter's statement doesn't know of all that its model was trained on: what was made of both is NOT private")
    }
    var fields = own.fields
    fields["private"] = .boolean(isPrivate)
    if !isPrivate { (fields["epsilon"], fields["epsilon_lower"]) = (.string("inf"), nil) }
    fields["warnings"] = .array(warnings.map(JSONValue.string))
    fields["history"] = try value(EarlierTraining.united(trainings, before))
    fields["start_model"] = try value(claim)
    return fields
  }

  private static func value(_ encodable: some Encodable) throws -> JSONValue {
    try JSONScanner.parse(file: Array(JSONEncoder.files.encode(encodable)))
  }
}
