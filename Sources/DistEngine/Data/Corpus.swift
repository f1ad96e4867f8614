/// What a run trains on and, if anything, what it is evaluated on.
public struct Corpus: Sendable {
  /// The name of the built-in corpus on the command line.
  public static let builtinName = "builtin"

  /// `builtin`, or the file's path.
  public let name: String
  public let training: RecordStore
  /// Records that training never sees; nil where there are none.
  public let heldOut: RecordStore?

  public var isBuiltin: Bool { name == Self.builtinName }

  /// - Parameters:
  ///   - data: `builtin` or a file of records.
  ///   - evaluation: a file of records to evaluate on. Without it the built-in corpus' own hold-out is used; other
  ///     data have none.
  ///     The built-in corpus trains on the same records either way.
  /// - Throws: ``DataError``.
  public init(data: String, evaluation: String? = nil, textField: String = "text", unitField: String? = nil) throws(DataError) {
    name = data
    var own: RecordStore?
    if data == Self.builtinName {
      if let unitField { throw .malformedFile(path: Self.builtinName, reason: "the built-in records have no field \"\(unitField)\" (--unit)") }
      let split = BuiltinCorpus.holdOut.split(try BuiltinCorpus.messages())
      training = split.training
      own = split.heldOut
    } else {
      training = try RecordReader.read(data, textField: textField, unitField: unitField)
    }
    if let evaluation { own = try RecordReader.read(evaluation, textField: textField) }
    heldOut = own
  }
}
