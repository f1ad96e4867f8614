import Crypto
import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Writes checkpoints: every rank its slice, side by side, straight from where the state is; rank 0 the manifest when all slices are on the
/// disk, and the name.
package struct CheckpointWriter {
  private let communicator: Communicator
  private let writers: CheckpointWriters

  package init(_ writers: CheckpointWriters, communicator: Communicator) {
    (self.writers, self.communicator) = (writers, communicator)
  }

  /// Collective. When it returns the checkpoint is there, on the disk; when it throws there is none, and those before are as they were.
  ///
  /// - Parameters:
  ///   - directory: of the run's checkpoints, on rank 0.
  ///   - manifest: from the slices' files, on rank 0.
  package func write(
    _ state: CheckpointState, step: Int, in directory: CheckpointDirectory?, manifest: ([CheckpointManifest.File]) throws -> CheckpointManifest
  ) throws {
    do {
      let aside = try communicator.agree("checkpoint") {
        guard let directory else { return "" }
        try directory.clearAside()
        try AtomicFile.makeDirectory(directory.path, permissions: 0o700)
        let aside = directory.pathAside(ofStep: step)
        try AtomicFile.makeDirectory(aside, permissions: 0o700)
        return aside
      }
      let path = String(decoding: try communicator.broadcast(bytes: Array(aside.utf8)), as: UTF8.self)
      let own = try communicator.agree("checkpoint") { try writeOwn(state, in: path) }
      let others = try writeRemote(state, in: path)
      let files = try communicator.allgather(bytes: Array(try JSONEncoder().encode(own)))
      try communicator.agree("checkpoint") {
        guard let directory else { return }
        let all = try files.flatMap { try JSONDecoder().decode([CheckpointManifest.File].self, from: Data($0)) } + others
        try AtomicFile.write(
          try manifest(all.sorted { $0.name < $1.name }).fileBytes, to: "\(path)/\(CheckpointManifest.fileName)", permissions: 0o600)
        try directory.publish(step: step)
      }
    } catch {
      try? directory?.clearAside()
      throw error
    }
  }

  private func writeOwn(_ state: CheckpointState, in path: String) throws -> [CheckpointManifest.File] {
    let slices = state.parts.flatMap { part in
      writers.ranges(of: part).map { (slice: CheckpointSlice(part: part.name, elements: $0), part: part) }
    }
    guard !slices.isEmpty else { return [] }
    let file = try SliceFile(rank: communicator.rank, of: communicator.size, in: path, slices: slices.map(\.slice))
    for (slice, part) in slices {
      guard let values = part.elements(slice.elements) else { preconditionFailure("\(slice.name) of a rank that doesn't hold it") }
      try file.append(values)
    }
    return [try file.close()]
  }

  /// Elements that are handed over at a time.
  private static let blockCount = 1 << 20

  /// Slices that no writer holds, one rank's after another's, through rank 0.
  private func writeRemote(_ state: CheckpointState, in path: String) throws -> [CheckpointManifest.File] {
    var files: [CheckpointManifest.File] = []
    let block = AlignedBuffer<Float>(count: writers.remote.isEmpty ? 0 : Self.blockCount)
    for owner in writers.remote {
      let parts = state.parts.filter { !$0.isReplicated }
      let bounds = try communicator.broadcast((parts.first?.held.first).map { [$0.lowerBound, $0.upperBound] }, from: owner)
      guard bounds[0] < bounds[1] else { continue }
      let file = try communicator.agree("checkpoint") {
        communicator.rank == 0
          ? try SliceFile(
            rank: owner, of: communicator.size, in: path, slices: parts.map { CheckpointSlice(part: $0.name, elements: bounds[0]..<bounds[1]) })
          : nil
      }
      for part in parts {
        for first in stride(from: bounds[0], to: bounds[1], by: Self.blockCount) {
          let range = first..<min(bounds[1], first + Self.blockCount)
          let values = UnsafeMutableBufferPointer(rebasing: block.elements[..<range.count])
          if communicator.rank == owner, let own = part.elements(range) { _ = values.update(fromContentsOf: own) }
          try communicator.broadcast(values, from: owner)
          try communicator.agree("checkpoint") { try file?.append(values) }
        }
      }
      let written = try communicator.agree("checkpoint") { try file?.close() }
      if let written { files.append(written) }
    }
    return files
  }
}

extension Communicator {
  /// Two numbers of one rank, on all of them.
  fileprivate func broadcast(_ bounds: [Int]?, from root: Int) throws -> [Int] {
    [try broadcast(bounds?[0] ?? 0, from: root), try broadcast(bounds?[1] ?? 0, from: root)]
  }
}

/// A safetensors file of slices, written in order, straight from memory.
private final class SliceFile {
  private let name: String
  private let path: String
  private let file: Int32
  private var hash = SHA256()
  private var bytes = 0
  private var isOpen = true

  init(rank: Int, of ranks: Int, in directory: String, slices: [CheckpointSlice]) throws {
    name = "state-\(rank)-of-\(ranks).safetensors"
    path = "\(directory)/\(name)"
    file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw FileError(path: path, action: "written") }
    let start = Safetensors.start(slices.map { ($0.name, [$0.elements.count]) }, metadata: [:])
    try start.withUnsafeBytes { try append($0) }
  }

  deinit { if isOpen { Glibc.close(file) } }

  func append(_ values: Vector) throws {
    // Pieces that are still in the processor's cache when they are hashed.
    let all = UnsafeRawBufferPointer(values)
    for first in stride(from: 0, to: all.count, by: Self.pieceBytes) {
      try append(UnsafeRawBufferPointer(rebasing: all[first..<min(all.count, first + Self.pieceBytes)]))
    }
  }

  private static let pieceBytes = 256 << 10

  private func append(_ piece: UnsafeRawBufferPointer) throws {
    try writeFully(piece, to: file, path: path)
    hash.update(bufferPointer: piece)
    bytes += piece.count
  }

  func close() throws -> CheckpointManifest.File {
    guard fsync(file) == 0 else { throw FileError(path: path, action: "flushed to the disk") }
    isOpen = false
    guard Glibc.close(file) == 0 else { throw FileError(path: path, action: "written") }
    return CheckpointManifest.File(name: name, bytes: bytes, sha256: hash.finalize().hexadecimal)
  }
}
