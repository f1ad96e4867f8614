/// Records that are read block by block: a file's, or some that are in memory and are one block.
package struct RecordSource {
  private enum Content {
    case file(RecordFile)
    case store(RecordStore)
  }

  /// The file's path, or what messages call it.
  let name: String
  private let content: Content

  /// Looks at a file's beginning.
  ///
  /// - Throws: ``DataError`` that names the file.
  package init(_ path: String, fields: RecordFields) throws(DataError) {
    name = path
    content = .file(try RecordFile(path, fields: fields))
  }

  package init(_ records: RecordStore, name: String) {
    self.name = name
    content = .store(records)
  }

  /// Bytes to be read, as they lie there.
  var byteCount: Int {
    switch content {
    case .file(let file): file.size
    case .store(let records): records.byteCount
    }
  }

  /// nil where there is no file.
  var identity: FileIdentity? { if case .file(let file) = content { file.identity } else { nil } }

  /// The blocks that are one of several parts'.
  ///
  /// - Parameter firstPart: whose the first block is.
  package func blocks(
    part: Int = 0, of parts: Int = 1, firstPart: Int = 0, blockBytes: Int = RecordFile.blockBytes
  ) throws(DataError) -> RecordBlocks {
    switch content {
    case .file(let file):
      RecordBlocks(file, try BlockReader(file, part: part, of: parts, firstPart: firstPart, blockBytes: blockBytes))
    case .store(let records): RecordBlocks(part == firstPart % parts ? records : nil)
    }
  }
}

/// The blocks of a source, one after the other.
package struct RecordBlocks {
  private let file: RecordFile?
  private let reader: BlockReader?
  private var records: RecordStore?
  /// The number of the block that ``next()`` gave last, or in which it failed.
  package private(set) var index = 0

  fileprivate init(_ file: RecordFile, _ reader: BlockReader) {
    self.file = file
    self.reader = reader
  }

  fileprivate init(_ records: RecordStore?) {
    self.records = records
    file = nil
    reader = nil
  }

  /// Bytes of the source that all parts together have come to, more or less.
  var bytesPassed: Int { reader?.bytesPassed ?? 0 }

  package mutating func next() throws(DataError) -> RecordStore? {
    guard let file else {
      defer { records = nil }
      return records
    }
    do {
      guard let block = try reader?.next() else { return nil }
      index = block.index
      return try RecordReader.records(of: block, in: file)
    } catch {
      index = max(index, reader?.index ?? 0)
      throw error
    }
  }
}
