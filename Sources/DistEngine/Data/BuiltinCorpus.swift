import Foundation

/// The corpus that comes with the program: the 5,574 messages of the SMS Spam Collection v.1 (Almeida, Gómez Hidalgo and
/// Yamakami 2011; CC BY 4.0), without their labels. Source, licence and citation: `Resources/builtin-corpus/README.md`.
public enum BuiltinCorpus {
  /// A tenth of the messages is held out.
  public static let holdOut = HoldOut(oneIn: 10)

  /// All messages, in the collection's order: of each line what follows the tab.
  ///
  /// - Throws: ``DataError`` where the program was installed without its resources.
  public static func messages() throws(DataError) -> RecordStore {
    let path = try Resources.path(of: "builtin-corpus/SMSSpamCollection.tsv")
    let bytes: [UInt8]
    do { bytes = try FileBytes.read(path) } catch { throw .unreadable(error) }
    let messages = bytes.split(separator: UInt8(ascii: "\n")).enumerated().map { index, line in
      (line: index + 1, text: line.firstIndex(of: UInt8(ascii: "\t")).map { line[($0 + 1)...] })
    }
    if let bad = messages.first(where: { $0.text == nil }) {
      throw .malformedLine(path: path, line: bad.line, reason: "no tab")
    }
    return RecordStore(messages.compactMap(\.text))
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
