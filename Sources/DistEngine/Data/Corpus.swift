/// What a run trains on and, if anything, what it is evaluated on.
public struct Corpus: Sendable {
  /// The name of the built-in corpus on the command line.
  public static let builtinName = "builtin"

  public let training: RecordStore
  /// Records that training never sees; nil where there are none.
  public let heldOut: RecordStore?

  /// - Parameters:
  ///   - data: `builtin` or files of records, which follow each other.
  ///   - evaluation: files of records to evaluate on. Without them the built-in corpus' own hold-out is used; other
  ///     data have none.
  ///     The built-in corpus trains on the same records either way.
  /// - Throws: ``DataError``.
  public init(data: [String], evaluation: [String] = [], fields: RecordFields = RecordFields()) throws(DataError) {
    var own: RecordStore?
    if data == [Self.builtinName] {
      let split = BuiltinCorpus.holdOut.split(try BuiltinCorpus.messages(fields))
      training = split.training
      own = split.heldOut
    } else {
      training = try Self.records(data, fields)
    }
    var evaluated = fields
    evaluated.unit = nil
    heldOut = evaluation.isEmpty ? own : try Self.records(evaluation, evaluated)
  }

  private static func records(_ files: [String], _ fields: RecordFields) throws(DataError) -> RecordStore {
    var stores: [RecordStore] = []
    for file in files { stores.append(try RecordReader.read(file, fields: fields)) }
    return RecordStore(joining: stores)
  }
}
