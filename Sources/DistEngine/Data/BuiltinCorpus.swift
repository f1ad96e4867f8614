import Foundation

/// The corpus that comes with the program: the 5,574 messages of the SMS Spam Collection v.1 (Almeida, Gómez Hidalgo and
/// Yamakami 2011; CC BY 4.0). Source, licence and citation: `Resources/builtin-corpus/README.md`.
public enum BuiltinCorpus {
  /// A tenth of the messages is held out.
  public static let holdOut = HoldOut(oneIn: 10)

  /// The labels of the collection.
  public static let labels = ["ham", "spam"]
  static let labelField = "label"

  /// All messages, in the collection's order: of each line what follows the tab, with the label before it where it is asked for.
  ///
  /// - Throws: ``DataError`` where other fields are asked for, or where the program was installed without its resources.
  public static func messages(_ fields: RecordFields = RecordFields()) throws(DataError) -> RecordStore {
    try check(fields)
    let path = try Resources.path(of: "builtin-corpus/SMSSpamCollection.tsv")
    let bytes: [UInt8]
    do { bytes = try FileBytes.read(path) } catch { throw .unreadable(error) }
    var (texts, labels): ([ArraySlice<UInt8>], [Int32]) = ([], [])
    for (index, line) in bytes.split(separator: UInt8(ascii: "\n")).enumerated() {
      guard let tab = line.firstIndex(of: UInt8(ascii: "\t")) else { throw .malformedLine(path: path, line: index + 1, reason: "no tab") }
      texts.append(line[(tab + 1)...])
      guard let known = fields.labels else { continue }
      guard let label = known.index(of: line[..<tab]) else {
        throw .malformedLine(path: path, line: index + 1, reason: "the label \(known.allowed)")
      }
      labels.append(label)
    }
    return RecordStore(texts, labels: fields.labels == nil ? nil : labels)
  }

  /// There is a text, and a label.
  private static func check(_ fields: RecordFields) throws(DataError) {
    let own = ["text", labelField]
    for field in fields.all where field.option == "--unit" || field.option == "--prompt-field" || !own.contains(field.name) {
      throw .malformedFile(
        path: Corpus.builtinName, reason: "the built-in records have no field \"\(field.name)\" (\(field.option)): they have a text and a label")
    }
    if fields.texts.count > 1 { throw .malformedFile(path: Corpus.builtinName, reason: "the built-in records have one text, no pair of them (--text-field)") }
  }
}

/// Files that come with the library, in a directory beside the program.
///
/// The accessor that the package manager generates knows the directory of the build and ends the program where it finds
/// nothing; this one looks beside the program as it runs, and throws.
enum Resources {
  private static let bundle = "dp-mpirun_DistEngine.resources"

  static func path(of name: String) throws(DataError) -> String {
    let candidates = directories.map { "\($0)/\(bundle)" }
    guard let found = candidates.first(where: { FileManager.default.fileExists(atPath: "\($0)/\(name)") }) else {
      throw .missingResource(name: name, searched: candidates)
    }
    return "\(found)/\(name)"
  }

  /// The program's directory, links resolved, and that of `…/bin/program`'s `…/share/dp-mpirun`.
  private static var directories: [String] {
    let program =
      (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? Bundle.main.executablePath ?? "."
    let directory = URL(filePath: program).resolvingSymlinksInPath().deletingLastPathComponent()
    let share = directory.deletingLastPathComponent().appending(path: "share/dp-mpirun")
    return [directory, share].map { $0.path(percentEncoded: false) }.map { $0.hasSuffix("/") ? String($0.dropLast()) : $0 }
  }
}
