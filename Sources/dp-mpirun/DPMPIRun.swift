import ArgumentParser
import DistEngine

struct DPMPIRun: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dp-mpirun",
    abstract: "Trains transformer language models with differential privacy, on CPUs, over MPI.",
    discussion: """
      Without a subcommand it trains: `dp-mpirun --mode ghost` means `dp-mpirun train --mode ghost`. Started by mpirun or \
      srun it runs on all ranks; started alone it is one rank.

        dp-mpirun                                             a private run on the built-in corpus
        mpirun -np 4 dp-mpirun --mode ghost --data notes.jsonl --target-epsilon 8 --output runs/notes
        dp-mpirun generate --model runs/notes/model --prompt "Dear"
      """,
    version: ProgramVersion.current,
    subcommands: [
      TrainCommand.self, TestCommand.self, EvaluateCommand.self, GenerateCommand.self, EpsilonCommand.self,
      CalibrateCommand.self, InspectCommand.self, PlanCommand.self, MemoryCommand.self,
    ],
    defaultSubcommand: TrainCommand.self)
}

/// The command line as people write it, made into what the parser knows.
enum CommandLineArguments {
  /// Refuses arguments that aren't UTF-8: names of files would be others than those that were meant.
  static func checkEncoding() {
    for place in 1..<max(1, Int(CommandLine.argc)) {
      guard let argument = CommandLine.unsafeArgv[place], String(validatingCString: argument) == nil else { continue }
      let error = UsageError(
        description: "argument \(place), \(String(cString: argument)), is not valid UTF-8: names of files and directories must be")
      LauncherRank.refuse(error)
    }
  }

  /// `--mode test` and `--mode memory` mean the subcommands. Everything else is left as it is.
  static func normalised(_ arguments: [String]) -> [String] {
    for command in ["test", "memory"] {
      var rest = arguments
      if let place = rest.firstIndex(of: "--mode"), place + 1 < rest.count, rest[place + 1] == command {
        rest.removeSubrange(place...place + 1)
        return [command] + rest
      }
      if let place = rest.firstIndex(of: "--mode=\(command)") {
        rest.remove(at: place)
        return [command] + rest
      }
    }
    return arguments
  }
}
