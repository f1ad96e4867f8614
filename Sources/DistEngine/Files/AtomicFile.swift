import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A file or directory that can't be read or written: `path`, what was tried, and the system's reason.
public struct FileError: UserError, Equatable {
  public let path: String
  public let action: String
  public let reason: String

  public var description: String { "\(path): can't be \(action): \(reason)" }

  /// - Parameter code: an `errno`.
  package init(path: String, action: String, code: Int32 = errno) {
    self.init(path: path, action: action, reason: String(cString: strerror(code)))
  }

  package init(path: String, action: String, reason: String) {
    self.path = path
    self.action = action
    self.reason = reason
  }
}

/// Files that appear whole or not at all: written aside in the same directory, flushed to the disk, renamed over the old
/// file, and the rename flushed too. A crash at any moment leaves the old file or the new one under the name.
package enum AtomicFile {
  /// - Parameter permissions: of a new file, before the user's mask (umask(2)).
  package static func write(_ bytes: some Collection<UInt8>, to path: String, permissions: mode_t = 0o666) throws {
    try write(to: path, permissions: permissions) { (writer) throws(FileError) in try writer.append(bytes) }
  }

  /// Writes piece by piece: `body` appends what the file is to hold.
  ///
  /// - Throws: ``FileError``, or what `body` throws; then nothing is left behind.
  package static func write(to path: String, permissions: mode_t = 0o666, _ body: (inout Writer) throws -> Void) throws {
    var status = stat()
    if stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
      throw FileError(path: path, action: "written", code: EISDIR)
    }
    let aside = aside(path)
    unlink(aside)
    let file = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, permissions)
    guard file >= 0 else { throw FileError(path: path, action: "written") }
    var isOpen = true
    do {
      var writer = Writer(file: file, path: path)
      try body(&writer)
      try writer.flush()
      guard fsync(file) == 0 else { throw FileError(path: path, action: "flushed to the disk") }
      isOpen = false
      guard close(file) == 0 else { throw FileError(path: path, action: "written") }
      guard rename(aside, path) == 0 else { throw FileError(path: path, action: "written") }
    } catch {
      if isOpen { close(file) }
      unlink(aside)
      throw error
    }
    try flushDirectory(containing: path)
  }

  /// Where a file or directory of this process is made before it gets its name.
  static func aside(_ path: String) -> String { "\(path).partial-\(getpid())" }

  /// Whether a name is of a file that was being written when its process ended: nobody will finish it.
  static func isAside(_ name: String) -> Bool {
    guard let dot = name.range(of: ".partial-", options: .backwards) else { return false }
    return Int32(name[dot.upperBound...]) != nil
  }

  /// Makes a directory and those above it. One that exists is fine.
  ///
  /// - Parameter permissions: of the directory itself, before the user's mask.
  package static func makeDirectory(_ path: String, permissions: mode_t = 0o777) throws(FileError) {
    guard mkdir(path, permissions) != 0 else { return try flushDirectory(containing: path) }
    let code = errno
    var status = stat()
    if code == EEXIST, stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR { return }
    let parent = directory(of: path)
    guard code == ENOENT, parent != path, parent != "." else {
      throw FileError(path: path, action: "made a directory", code: code)
    }
    try makeDirectory(parent)
    guard mkdir(path, permissions) == 0 || errno == EEXIST else { throw FileError(path: path, action: "made a directory") }
    try flushDirectory(containing: path)
  }

  /// Makes a name's appearance in its directory survive a crash.
  static func flushDirectory(containing path: String) throws(FileError) { try flushDirectory(directory(of: path)) }

  /// Makes the names in a directory survive a crash.
  package static func flushDirectory(_ path: String) throws(FileError) {
    let file = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard file >= 0 else { throw FileError(path: path, action: "opened") }
    defer { close(file) }
    // Some network file systems have nothing to flush for a directory and say EINVAL.
    guard fsync(file) == 0 || errno == EINVAL else { throw FileError(path: path, action: "flushed to the disk") }
  }

  static func directory(of path: String) -> String {
    var trimmed = Substring(path)
    while trimmed.count > 1, trimmed.hasSuffix("/") { trimmed.removeLast() }
    guard let slash = trimmed.lastIndex(of: "/") else { return "." }
    return slash == trimmed.startIndex ? "/" : String(trimmed[..<slash])
  }

  /// Where the bytes of a file under way go: small pieces are gathered, large ones written as they are.
  package struct Writer {
    private let file: Int32
    private let path: String
    private var gathered: [UInt8] = []
    private static var gatherLimit: Int { 1 << 16 }

    /// - Parameters:
    ///   - file: an open descriptor; the caller closes it.
    ///   - path: what errors call it.
    package init(file: Int32, path: String) {
      self.file = file
      self.path = path
    }

    package mutating func append(_ bytes: some Collection<UInt8>) throws(FileError) {
      gathered.append(contentsOf: bytes)
      if gathered.count >= Self.gatherLimit { try flush() }
    }

    package mutating func append(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
      if bytes.count < Self.gatherLimit {
        gathered.append(contentsOf: bytes)
        if gathered.count >= Self.gatherLimit { try flush() }
      } else {
        try flush()
        try writeFully(bytes, to: file, path: path)
      }
    }

    mutating func flush() throws(FileError) {
      let pending = gathered
      gathered.removeAll(keepingCapacity: true)
      try writeFully(pending, to: file, path: path)
    }
  }
}

func writeFully(_ bytes: [UInt8], to file: Int32, path: String) throws(FileError) {
  try bytes.withUnsafeBufferPointer { (bytes) throws(FileError) in
    try writeFully(UnsafeRawBufferPointer(bytes), to: file, path: path)
  }
}

/// Writes all of `bytes` where the file stands, in as many calls as the system wants.
func writeFully(_ bytes: UnsafeRawBufferPointer, to file: Int32, path: String) throws(FileError) {
  var written = 0
  while written < bytes.count {
    // Linux writes at most 2^31 - 4096 bytes in a call.
    let result = write(file, bytes.baseAddress! + written, min(bytes.count - written, 1 << 30))
    if result > 0 {
      written += result
    } else if errno != EINTR {
      throw FileError(path: path, action: "written")
    }
  }
}
