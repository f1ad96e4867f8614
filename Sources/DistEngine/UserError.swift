/// An error that the person who started the run can mend: bad data, a refused configuration, a file that can't be written.
///
/// `description` is one line that names the culprit (option, file, line, tensor), says what is wrong and what would be right.
/// The command ends with `exitStatus` on every rank.
public protocol UserError: Error, CustomStringConvertible, Sendable {
  var exitStatus: Int32 { get }
}

extension UserError {
  public var exitStatus: Int32 { ExitStatus.refused }
}

/// Exit codes of the program (stable: measured by scripts).
public enum ExitStatus {
  public static let done: Int32 = 0
  /// Refused, or bad data.
  public static let refused: Int32 = 1
  /// Bad usage: an option or a value that can't be.
  public static let usage: Int32 = 64
  /// A defect of the program or of a library under it.
  public static let internalError: Int32 = 70
  /// A peer is dead or stuck.
  public static let peerLost: Int32 = 75
  /// Asked to stop, and stopped with a checkpoint: the same command line with `--resume` goes on.
  public static let checkpointed: Int32 = 85
}
