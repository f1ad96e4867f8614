import Foundation

/// A directory of a test's own, removed with it.
package final class TemporaryDirectory: Sendable {
  package let path: String

  package init() throws {
    let url = FileManager.default.temporaryDirectory.appending(path: "dp-mpirun-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    path = url.resolvingSymlinksInPath().path(percentEncoded: false)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// The path of a file with that content.
  package func file(_ name: String, _ content: some Sequence<UInt8>) throws -> String {
    let path = "\(path)/\(name)"
    try Data(content).write(to: URL(filePath: path))
    return path
  }

  package func file(_ name: String, _ content: String) throws -> String { try file(name, content.utf8) }

  package var names: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() } }
}
