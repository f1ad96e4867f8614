/// What a run trains on and, if anything, what it is evaluated on.
package struct Corpus {
  /// The name of the built-in corpus on the command line.
  package static let builtinName = "builtin"

  package let training: [RecordSource]
  /// Records that training never sees; nil where there are none.
  package let heldOut: [RecordSource]?

  /// Looks at the files' beginnings.
  ///
  /// - Parameters:
  ///   - data: `builtin` or files of records, which follow each other.
  ///   - evaluation: files of records to evaluate on. Without them the built-in corpus' own hold-out is used; other
  ///     data have none.
  ///     The built-in corpus trains on the same records either way.
  /// - Throws: ``DataError``.
  package init(data: [String], evaluation: [String] = [], fields: RecordFields = RecordFields()) throws(DataError) {
    var own: [RecordSource]?
    if data == [Self.builtinName] {
      let split = BuiltinCorpus.holdOut.split(try BuiltinCorpus.messages(fields))
      training = [RecordSource(split.training, name: Self.builtinName)]
      own = [RecordSource(split.heldOut, name: Self.builtinName)]
    } else {
      training = try Self.sources(data, fields)
    }
    var evaluated = fields
    evaluated.unit = nil
    heldOut = evaluation.isEmpty ? own : try Self.sources(evaluation, evaluated)
  }

  private static func sources(_ files: [String], _ fields: RecordFields) throws(DataError) -> [RecordSource] {
    var sources: [RecordSource] = []
    for file in files { sources.append(try RecordSource(file, fields: fields)) }
    return sources
  }
}
