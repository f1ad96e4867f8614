import Foundation

/// The directory of a trained adapter on its way to its name: written aside, read back, and renamed when it is what was trained. Whatever has the name
/// was read back.
struct ReleasedAdapter {
  private let path: String
  private var aside: String { AtomicFile.aside(path) }

  /// - Parameter path: of the directory when it is done.
  init(path: String) { self.path = path }

  /// - Throws: also where what is read back isn't what is in memory; then nothing has changed under the name.
  func write(_ replica: ModelReplica, setup: TrainingSetup, statement: PrivacyStatement) throws {
    let files = FileManager.default
    if files.fileExists(atPath: aside) { try files.removeItem(atPath: aside) }
    do {
      try writeFiles(replica, setup: setup, statement: statement)
      try replica.checkAdapter(savedIn: aside, tokenizer: setup.tokenizer)
      try takeTheName()
    } catch {
      try? files.removeItem(atPath: aside)
      throw error
    }
  }

  private func writeFiles(_ replica: ModelReplica, setup: TrainingSetup, statement: PrivacyStatement) throws {
    try AtomicFile.makeDirectory(aside)
    try AtomicFile.write(JSONEncoder.files.encode(statement) + [UInt8(ascii: "\n")], to: "\(aside)/privacy.json")
    for file in (setup.tokenizer as? FileTokenizer)?.files ?? [] { try AtomicFile.write(file.bytes, to: "\(aside)/\(file.name)") }
    let base = setup.configuration.model
    let card = AdapterCard(setup.model, base: AdapterFile.nameOfModel(base), statement: statement)
    try AtomicFile.write(Data(card.text.utf8), to: "\(aside)/README.md")
    try AdapterFile.write(directory: aside, configuration: setup.model, model: base, layout: replica.plan.table.whole) {
      UnsafeBufferPointer(replica.values(of: $0))
    }
  }

  /// A directory takes no other's place: that of a run which went on after it was done makes way first.
  private func takeTheName() throws {
    let before = "\(path).before.partial-\(getpid())"
    let hasBefore = rename(path, before) == 0
    guard hasBefore || errno == ENOENT else { throw FileError(path: path, action: "written") }
    guard rename(aside, path) == 0 else {
      let failure = FileError(path: path, action: "written")
      if hasBefore { _ = rename(before, path) }
      throw failure
    }
    try AtomicFile.flushDirectory(AtomicFile.directory(of: path))
    if hasBefore { try FileManager.default.removeItem(atPath: before) }
  }
}
