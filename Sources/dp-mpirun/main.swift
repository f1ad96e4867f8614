import ArgumentParser
import DistEngine
import Foundation
import PrivacyAccounting

// Exit codes and the form of error lines are part of the interface (ExitStatus): the parser's own would differ.
do {
  var command = try DPMPIRun.parseAsRoot(CommandLineArguments.normalised(Array(CommandLine.arguments.dropFirst())))
  try command.run()
} catch {
  CommandFailure.end(error)
}
