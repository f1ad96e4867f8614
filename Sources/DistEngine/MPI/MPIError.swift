import CMPI
import Foundation

/// A call of the MPI library that failed on this rank: MPI's code with its text (MPI 4.0, 9.3 and 9.4).
///
/// Other ranks may be waiting inside the same call, so such an error is not thrown past a collective: whoever can't go on
/// ends the job with ``MPIEnvironment/abort(_:)``, as ``MPIEnvironment/run(collectiveTimeout:_:)`` does.
public struct MPIError: UserError {
  /// The call's name in the standard, `MPI_Allreduce` for example.
  public let call: String
  public let code: Int32
  /// The library's text for the code.
  public let text: String
  /// The rank in the communicator that made the call; nil before there is one.
  public let rank: Int?

  package init(call: String, code: Int32, text: String, rank: Int?) {
    (self.call, self.code, self.text, self.rank) = (call, code, text, rank)
  }

  init(call: StaticString, code: Int32, rank: Int?) {
    self.init(call: "\(call)", code: code, text: Self.text(of: code), rank: rank)
  }

  public var exitStatus: Int32 { ExitStatus.internalError }

  /// Without the rank: ``MPIEnvironment/abort(_:)`` puts rank, host and step in front of every error.
  public var description: String { "\(call) failed: \(text) (code \(code))" }

  private static func text(of code: Int32) -> String {
    let text = withUnsafeTemporaryAllocation(of: CChar.self, capacity: CMPI_max_text()) { buffer in
      buffer.initialize(repeating: 0)
      guard CMPI_Error_string(code, buffer.baseAddress!) == CMPI_success() else { return "" }
      return String(cString: buffer.baseAddress!)
    }
    return text.isEmpty ? "unknown error" : text
  }
}

/// The program was started by the launcher of another MPI library than the one it is linked with: each of its processes would
/// believe to be rank 0 of 1.
public struct LauncherMismatch: UserError {
  /// The environment variable in which the launcher says how many ranks it started.
  public let variable: String
  public let launched: Int
  public let found: Int

  public var description: String {
    "the launcher started \(launched) ranks (\(variable)) but MPI sees \(found): "
      + "use the launcher of the MPI library that dp-mpirun was built with (mpirun --version; ldd dp-mpirun; for srun, srun --mpi=list)"
  }
}

/// MPI was set up already in this process, or it cannot be called from a program with threads.
public struct MPIUnusable: UserError {
  public let description: String
  public var exitStatus: Int32 { ExitStatus.internalError }
}

/// A failure of one or more ranks that all ranks know of and throw together: see ``Communicator/agree(_:_:)``.
public struct AgreedFailure: UserError, Equatable {
  /// One line, with rank and host where only some ranks failed.
  public let message: String
  public let exitStatus: Int32
  /// The lowest rank that failed, and its host.
  public let rank: Int
  public let host: String

  public var description: String { message }
}

extension Error {
  /// What the person sees: one line, whatever the error.
  package var oneLine: String {
    "\(self)".split(whereSeparator: \.isNewline).joined(separator: "; ").withoutControls
  }

  /// The program's exit status for this error: a ``UserError``'s own, else 70.
  package var processExitStatus: Int32 {
    (self as? any UserError)?.exitStatus ?? ExitStatus.internalError
  }
}

/// Lines for the person on standard error. One `write` a line, so that lines of several ranks don't mix.
package enum StandardError {
  package static func write(line: String) {
    var bytes = Array(line.utf8)[...]
    bytes.append(UInt8(ascii: "\n"))
    while !bytes.isEmpty {
      let written = bytes.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
      if written < 0 && errno == EINTR { continue }
      guard written > 0 else { return }  // Nobody reads: there is nowhere to say so.
      bytes = bytes.dropFirst(written)
    }
  }
}
