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
      TrainCommand.self, TestCommand.self, EvaluateCommand.self, ClassifyCommand.self, GenerateCommand.self, EpsilonCommand.self,
      CalibrateCommand.self, InspectCommand.self, MergeCommand.self, PlanCommand.self, MemoryCommand.self, TokenizeCommand.self,
    ],
    defaultSubcommand: TrainCommand.self)
}
