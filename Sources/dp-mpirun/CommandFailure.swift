import ArgumentParser
import DistEngine
import Foundation
import PrivacyAccounting

/// Bad usage that a command itself finds.
struct UsageError: UserError {
  let description: String
  var exitStatus: Int32 { ExitStatus.usage }
}

/// How a command that failed ends: one line that starts with `Error: `, an exit code of ``ExitStatus``, on every rank.
enum CommandFailure {
  static func end(_ error: any Error) -> Never {
    if let code = error as? ExitCode { exit(code.rawValue) }
    if let error = error as? any UserError { LauncherRank.refuse(error) }
    switch DPMPIRun.exitCode(for: error) {
    case .success:  // --help and --version are thrown, too.
      if (LauncherRank.beforeInit ?? 0) == 0 { print(DPMPIRun.fullMessage(for: error)) }
      exit(ExitStatus.done)
    case .validationFailure:
      let message = DPMPIRun.message(for: error).split(separator: "\n").joined(separator: " ")
      LauncherRank.refuse(line: "Error: \(message) (see dp-mpirun --help)", exitStatus: ExitStatus.usage)
    default: LauncherRank.refuse(error)
    }
  }
}

/// What a command prints as its result.
enum StandardOutput {
  static func printJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
  }
}
