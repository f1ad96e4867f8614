import Foundation

/// What the launcher's environment says before MPI is started: enough to let one process speak for all.
public enum LauncherRank {
  /// This process's rank, nil without a launcher.
  public static var beforeInit: Int? {
    rank(in: ProcessInfo.processInfo.environment)
  }

  package static func rank(in environment: [String: String]) -> Int? {
    for name in ["OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"] {
      if let rank = environment[name].flatMap({ Int($0) }) { return rank }
    }
    // A batch script has SLURM_PROCID too, always 0: harmless.
    return environment["SLURM_PROCID"].flatMap { Int($0) }
  }

  /// The number of ranks that the launcher started, and the variable that says so; nil without a launcher.
  ///
  /// The innermost launcher counts: within a Slurm allocation mpirun's own daemons are a Slurm step, whose size is another.
  /// SLURM_NTASKS is no sign, since a batch script sees it too.
  package static func size(in environment: [String: String]) -> (variable: String, ranks: Int)? {
    for name in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"] {
      if let ranks = environment[name].flatMap({ Int($0) }) { return (name, ranks) }
    }
    return nil
  }

  /// Makes a process that no launcher started a job of one rank, as Open MPI by itself wouldn't: it looks for ssh, and in a Slurm step for
  /// a server that srun starts with `--mpi=pmix` alone, and aborts without them.
  ///
  /// - Throws: ``MPIUnusable`` in one of several Slurm tasks that know nothing of one another: each would be a run of its own.
  static func prepareForInit() throws {
    let environment = ProcessInfo.processInfo.environment
    let launched = environment.keys.contains { name in ["OMPI_COMM_WORLD_", "PMIX_", "PMI_"].contains { name.hasPrefix($0) } }
    guard !launched else { return }
    setenv("OMPI_MCA_ess_singleton_isolated", "1", 0)
    guard environment["SLURM_STEP_ID"] != nil || environment["SLURM_STEPID"] != nil else { return }
    if let tasks = environment["SLURM_STEP_NUM_TASKS"].flatMap({ Int($0) }), tasks > 1 {
      throw MPIUnusable(description: "SLURM_STEP_NUM_TASKS is \(tasks), but srun started the tasks without PMIx: use srun --mpi=pmix, or mpirun")
    }
    for name in environment.keys where name.hasPrefix("SLURM_") { unsetenv(name) }
  }

  /// Ends the program before MPI is started, for an error that every rank has alike (wrong options): rank 0 says so.
  ///
  /// The first process that ends makes the launcher end the others, so those wait for rank 0 to have spoken.
  public static func refuse(_ error: any Error) -> Never {
    refuse(line: "Error: \(error.oneLine)", exitStatus: error.processExitStatus)
  }

  /// The same with the text as it is to be printed, for the argument parser's own messages.
  public static func refuse(line: String, exitStatus: Int32) -> Never {
    if (beforeInit ?? 0) == 0 {
      StandardError.write(line: line)
    } else {
      sleep(2)
    }
    exit(exitStatus)
  }
}
