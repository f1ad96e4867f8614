import ArgumentParser
import DistEngine
import Foundation
import Logging

// A reader that is gone is an error of the write, and ends the program as such.
signal(SIGPIPE, SIG_IGN)
// So is a file beyond the limit of its size (ulimit -f).
signal(SIGXFSZ, SIG_IGN)
LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }

// Exit codes and the form of error lines are part of the interface (ExitStatus): the parser's own would differ.
CommandLineArguments.checkEncoding()
var command: any ParsableCommand
do {
  command = try DPMPIRun.parseAsRoot(try CommandLineArguments.normalised(Array(CommandLine.arguments.dropFirst())))
} catch {
  CommandFailure.end(parsing: error)
}
do {
  try command.run()
} catch {
  CommandFailure.end(running: error)
}
