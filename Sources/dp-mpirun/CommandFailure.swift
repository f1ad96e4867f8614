import ArgumentParser
import DistEngine
import Foundation

/// Bad usage that a command itself finds.
struct UsageError: UserError {
  let description: String
  var exitStatus: Int32 { ExitStatus.usage }
}

/// How a command that failed ends: one line that starts with `Error: `, an exit code of ``ExitStatus``, on every rank.
enum CommandFailure {
  /// The command line could not be made into a command: an option the parser refuses, or one that a command's `validate()` does.
  /// The parser wraps both in an error of its own.
  static func end(parsing error: any Error) -> Never {
    if let usage = error as? UsageError { LauncherRank.refuse(usage) }
    if DPMPIRun.exitCode(for: error) == .success {  // --help and --version are thrown, too.
      if (LauncherRank.beforeInit ?? 0) == 0 { StandardOutput.write(line: DPMPIRun.fullMessage(for: error)) }
      exit(ExitStatus.done)
    }
    let message = DPMPIRun.message(for: error).split(separator: "\n").joined(separator: " ")
    LauncherRank.refuse(line: "Error: \(message) (see dp-mpirun --help)", exitStatus: ExitStatus.usage)
  }

  /// A command ended by throwing: ``runUnderMPI(collectiveTimeout:_:)`` throws the status that the ranks agreed on, having said why.
  static func end(running error: any Error) -> Never {
    if let code = error as? ExitCode { exit(code.rawValue) }
    // The parser's own commands, such as `help`, throw what they print.
    if error is ValidationError || DPMPIRun.exitCode(for: error) == .success { end(parsing: error) }
    LauncherRank.refuse(error)
  }
}

/// What a command prints as its result.
enum StandardOutput {
  static func write(line: String) { write(Data((line + "\n").utf8)) }

  /// Writes all of it or ends the program: a result that nobody gets is no success.
  static func write(_ bytes: Data) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let written = rest.withUnsafeBytes { Foundation.write(STDOUT_FILENO, $0.baseAddress!, $0.count) }
      if written > 0 {
        rest = rest.dropFirst(written)
      } else if errno == EPIPE {
        exit(ExitStatus.refused)  // Whoever read has what they wanted, as in `… | head`.
      } else if errno != EINTR {
        let reason = String(cString: strerror(errno))
        LauncherRank.refuse(line: "Error: standard output: can't be written: \(reason)", exitStatus: ExitStatus.refused)
      }
    }
  }

  static func printJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    encoder.nonConformingFloatEncodingStrategy = .named
    write(line: String(decoding: try encoder.encode(value), as: UTF8.self))
  }
}
