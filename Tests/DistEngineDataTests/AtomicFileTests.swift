import CSyncCounter
import DistEngine
import Foundation
import TestSupport
import Testing

@Suite struct AtomicFileTests {
  @Test func roomOnTheDisk() throws {
    let directory = try TemporaryDirectory()
    try DiskRoom.check(1, in: directory.path)
    #expect { try DiskRoom.check(.max, in: directory.path) } throws: {
      ($0 as? FileError)?.path == directory.path && "\($0)".contains("free")
    }
  }

  let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func content(_ name: String) throws -> [UInt8] { try FileBytes.read("\(directory.path)/\(name)") }

  @Test(arguments: [0, 1, 65_535, 65_536, 65_537, 1_000_003])
  func aFileHoldsWhatWasWritten(count: Int) throws {
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    try AtomicFile.write(bytes, to: "\(directory.path)/a")
    #expect(try content("a") == bytes)
    try AtomicFile.write(to: "\(directory.path)/b") { writer in
      for start in stride(from: 0, to: count, by: 7_001) {
        let piece = bytes[start..<min(start + 7_001, count)]
        if start % 2 == 0 { try writer.append(piece) } else { try piece.withUnsafeBytes { try writer.append($0) } }
      }
      try bytes.withUnsafeBytes { try writer.append($0) }
    }
    #expect(try content("b") == bytes + bytes)
    #expect(try directory.names == ["a", "b"])
  }

  @Test func aFailureLeavesTheOldFile() throws {
    struct Interruption: Error {}
    let path = try directory.file("a", "old")
    #expect(throws: Interruption.self) {
      try AtomicFile.write(to: path) { writer in
        try writer.append(Array("new".utf8))
        throw Interruption()
      }
    }
    #expect(try content("a") == Array("old".utf8))
    #expect(try directory.names == ["a"])
    try AtomicFile.write(Array("new".utf8), to: path)
    #expect(try content("a") == Array("new".utf8))
  }

  @Test func pathsThatCannotBeWrittenAreNamed() throws {
    let file = try directory.file("a", "x")
    #expect(throws: FileError(path: directory.path, action: "written", code: EISDIR)) {
      try AtomicFile.write([1], to: directory.path)
    }
    #expect(throws: FileError(path: "\(file)/b", action: "written", code: ENOTDIR)) { try AtomicFile.write([1], to: "\(file)/b") }
    #expect(throws: FileError(path: "\(directory.path)/no/b", action: "written", code: ENOENT)) {
      try AtomicFile.write([1], to: "\(directory.path)/no/b")
    }
    #expect(throws: FileError(path: file, action: "made a directory", code: EEXIST)) { try AtomicFile.makeDirectory(file) }
    #expect(throws: FileError(path: "\(file)/b", action: "made a directory", code: ENOTDIR)) {
      try AtomicFile.makeDirectory("\(file)/b")
    }
    #expect(
      FileError(path: "a/b", action: "written", code: ENOSPC).description == "a/b: can't be written: No space left on device")
    try AtomicFile.makeDirectory("\(directory.path)/x/y/z/")
    try AtomicFile.makeDirectory("\(directory.path)/x/y/z")
    try AtomicFile.write([1], to: "\(directory.path)/x/y/z/a")
  }

  /// `/dev/full` refuses every write as a full disk does.
  @Test func aFullDiskIsNamed() throws {
    let file = open("/dev/full", O_WRONLY)
    try #require(file >= 0)
    defer { close(file) }
    var writer = AtomicFile.Writer(file: file, path: "runs/model.safetensors")
    let error = try #require(throws: FileError.self) { try writer.append([UInt8](repeating: 0, count: 1 << 17)) }
    #expect(error.description == "runs/model.safetensors: can't be written: No space left on device")
  }

  // MARK: DurableLog

  @Test func aLogKeepsItsLinesOverOpenings() throws {
    let path = "\(directory.path)/log"
    do {
      var log = try DurableLog(path: path)
      try log.append("one")
      try log.append("")
      #expect(try DurableLog.lines(at: path) == ["one", ""])
    }
    do {
      var log = try DurableLog(path: path)
      try log.append("three é")
    }
    #expect(try DurableLog.lines(at: path) == ["one", "", "three é"])
    #expect(try content("log") == Array("one\n\nthree é\n".utf8))
  }

  /// The flush comes behind the whole line: the file is as long then as it is when the call returns.
  @Test func aLineIsFlushedBeforeAppendReturns() throws {
    let path = "\(directory.path)/log"
    var log = try DurableLog(path: path)
    for line in ["one", "two"] {
      let before = sc_flushes()
      try log.append(line)
      #expect(sc_flushes() == before + 1)
      #expect(try sc_bytes_at_last_flush() == Int64(content("log").count))
    }
  }

  /// Content, then the rename: both are on the disk.
  @Test func aFileAndItsNameAreFlushed() throws {
    let before = sc_flushes()
    try AtomicFile.write([1, 2, 3], to: "\(directory.path)/a")
    #expect(sc_flushes() == before + 2)
  }

  @Test(arguments: [("", []), ("tor", []), ("one\ntor", ["one"]), ("one\n", ["one"]), ("\n", [""])])
  func aTornLastLineIsCutOff(content: String, whole: [String]) throws {
    let path = try directory.file("log", content)
    #expect(try DurableLog.lines(at: path) == whole)
    do {
      var log = try DurableLog(path: path)
      try log.append("next")
    }
    #expect(try DurableLog.lines(at: path) == whole + ["next"])
  }

  @Test func aLogThatIsOpenIsRefused() throws {
    let path = "\(directory.path)/log"
    let log = try DurableLog(path: path)
    let error = try #require(throws: FileError.self) { _ = try DurableLog(path: path) }
    #expect(error.description == "\(path): can't be written: another process has it open")
    _ = consume log
    _ = try DurableLog(path: path)
  }

  @Test func aLogThatCannotBeWrittenIsNamed() throws {
    #expect(throws: FileError(path: directory.path, action: "written", code: EISDIR)) { _ = try DurableLog(path: directory.path) }
    #expect(throws: FileError(path: "\(directory.path)/no/log", action: "written", code: ENOENT)) {
      _ = try DurableLog(path: "\(directory.path)/no/log")
    }
    #expect(throws: FileError(path: "\(directory.path)/log", action: "read", code: ENOENT)) {
      try DurableLog.lines(at: "\(directory.path)/log")
    }
  }
}
