import Crypto
import DistEngine
import Foundation
import TestSupport
import Testing

@Suite struct CheckpointTests {
  private static let manifest = CheckpointManifest(
    program: "0.1.0", runID: "0123", step: 7, charges: 9, noiseMultiplier: 0.1 + 0.2, parameterCount: 10, frozenCount: 0, optimizerUpdates: 7,
    dataFingerprint: "ab", options: ["--steps": "12", "sha256": "0", "quoted \" name": "é"],
    files: [CheckpointManifest.File(name: "state-0-of-1.safetensors", bytes: 5, sha256: String(repeating: "0", count: 64))])

  @Test func aManifestReadsBack() throws {
    let read = try CheckpointManifest(fileBytes: Self.manifest.fileBytes)
    #expect(read.step == 7 && read.charges == 9 && read.noiseMultiplier == 0.1 + 0.2 && read.options == Self.manifest.options)
    #expect(read.files == Self.manifest.files)
    #expect(try CheckpointManifest(fileBytes: read.fileBytes).options == read.options)
  }

  @Test func noByteOfAManifestChangesUnseen() throws {
    let bytes = try Self.manifest.fileBytes
    for place in bytes.indices {
      for bit in [0x01, 0x20, 0x80] as [UInt8] {
        var changed = bytes
        changed[place] ^= bit
        #expect(throws: CheckpointDamage.self, "byte \(place)") { try CheckpointManifest(fileBytes: changed) }
      }
    }
    for count in bytes.indices { #expect(throws: CheckpointDamage.self) { try CheckpointManifest(fileBytes: Array(bytes[..<count])) } }
    #expect(throws: CheckpointDamage.self) { try CheckpointManifest(fileBytes: bytes + [10]) }
  }

  private func make(_ directory: TemporaryDirectory, steps: [Int], damaged: Set<Int> = []) throws -> CheckpointDirectory {
    let checkpoints = CheckpointDirectory(path: directory.path)
    for step in steps {
      let aside = checkpoints.pathAside(ofStep: step)
      try FileManager.default.createDirectory(atPath: aside, withIntermediateDirectories: true)
      let manifest = CheckpointManifest(
        program: "0.1.0", runID: "0123", step: step, charges: step, noiseMultiplier: 1, parameterCount: 0, frozenCount: 0, optimizerUpdates: 0,
        dataFingerprint: "", options: [:], files: [])
      try Data(manifest.fileBytes + (damaged.contains(step) ? [1] : [])).write(to: URL(filePath: "\(aside)/manifest.json"))
      try checkpoints.publish(step: step)
    }
    return checkpoints
  }

  @Test func theNewestWholeOneIsFound() throws {
    let directory = try TemporaryDirectory()
    let checkpoints = try make(directory, steps: [0, 9, 10, 100], damaged: [100, 10])
    var named: [Int] = []
    #expect(try checkpoints.newestWhole { step, _ in named.append(step) }?.step == 9)
    #expect(named == [100, 10], "by number, not by name")
    #expect(try CheckpointDirectory(path: "\(directory.path)/none").newestWhole { _, _ in } == nil)
    let other = try TemporaryDirectory()
    let broken = try make(other, steps: [1], damaged: [1])
    #expect(throws: CheckpointError.noneWhole(path: broken.path)) { try broken.newestWhole { _, _ in } }
  }

  /// Files that end within, at and behind the pieces in which they are written, from memory that is aligned to nothing.
  @Test(arguments: [-1, 0, 1, 2], [-1, 0, 1]) func aSliceFileHoldsWhatItWasGiven(pieces: Int, more: Int) throws {
    let directory = try TemporaryDirectory()
    let slice = CheckpointSlice(part: "parameters", elements: 0..<1)
    let header = try SliceFile(rank: 2, of: 3, in: directory.path, slices: [slice]).close().bytes
    try FileManager.default.removeItem(atPath: "\(directory.path)/state-2-of-3.safetensors")
    // -1 and 0 pieces: no values, or so few that nothing is ever full.
    let count = pieces < 0 ? 0 : pieces == 0 ? 5 + more : (pieces * SliceFile.pieceBytes - header) / 4 + more
    let values = AlignedBuffer<Float>(count: count + 3)
    for index in values.elements.indices { values.elements[index] = Float(index) }
    let file = try SliceFile(rank: 2, of: 3, in: directory.path, slices: [slice])
    for range in [3..<3 + count / 3, 3 + count / 3..<3 + count] { try file.append(Vector(rebasing: values.elements[range])) }
    let written = try file.close()
    let bytes = try Data(contentsOf: URL(filePath: "\(directory.path)/\(written.name)"))
    #expect(bytes.count == written.bytes && written.bytes == header + 4 * count)
    #expect(bytes.dropFirst(header) == Data(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(values.elements)[12...])))
    #expect(SHA256.hash(data: bytes).map { String(format: "%02x", $0) }.joined() == written.sha256)
  }

  @Test func aManifestOfAnotherStepIsDamage() throws {
    let directory = try TemporaryDirectory()
    let checkpoints = try make(directory, steps: [3])
    try FileManager.default.moveItem(atPath: checkpoints.path(ofStep: 3), toPath: checkpoints.path(ofStep: 4))
    #expect(throws: CheckpointDamage.self) { try checkpoints.verify(step: 4) }
  }

  @Test func onlyTheNewestAreKeptAndDamagedNewerOnesGo() throws {
    let directory = try TemporaryDirectory()
    let checkpoints = try make(directory, steps: [0, 5, 10, 15, 20], damaged: [20])
    try checkpoints.keep(2, newest: 15)
    #expect(try checkpoints.steps() == [15, 10])
    try FileManager.default.createDirectory(atPath: "\(directory.path)/.step-99", withIntermediateDirectories: true)
    try checkpoints.clearAside()
    #expect(try directory.names == ["step-10", "step-15"])
    _ = try make(directory, steps: [15])
    #expect(try checkpoints.steps() == [15, 10], "one of the same step makes way")
  }

  @Test func aTornChargeCountsAndIsMadeWhole() throws {
    let directory = try TemporaryDirectory()
    for (content, expected) in [
      ("", []), ("one\n", ["one"]), ("one\nt", ["one", "whole"]), ("one\ntoo long to be overwritten", ["one", "whole                     "]),
    ] {
      let path = try directory.file("log", content)
      #expect(try DurableLog.lineCountWithTorn(at: path) == expected.count)
      var log = try DurableLog(path: path, completingTornLineAs: "whole")
      #expect(try DurableLog.lines(at: path) == expected)
      try log.append("next")
      #expect(try DurableLog.lines(at: path) == expected + ["next"])
    }
    #expect(try DurableLog.lineCountWithTorn(at: "\(directory.path)/none") == 0)
  }
}
