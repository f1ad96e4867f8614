/// The threads of a job's ranks.
package struct ThreadCounts: Sendable {
  /// Of this rank.
  package let own: Int
  /// Of the rank that has most. Every rank plans scratch for as many, so that all ranks make the same choices.
  package let largest: Int

  /// What is asked for, or the cores that each rank was given. Collective, whatever is asked for.
  package init(_ options: PerformanceOptions, in environment: MPIEnvironment) throws {
    let share = try environment.fairCoreCount()
    own = options.threads ?? min(share, PerformanceOptions.mostThreads)
    largest = try environment.world.allreduceMax(own)
  }

  /// As ``init(_:in:)`` finds it where this machine's cores are divided among some ranks: without asking any.
  package init(_ options: PerformanceOptions, ranksPerNode: Int) {
    let share = max(1, ProcessorAffinity.affordableCores.count / ranksPerNode)
    own = options.threads ?? min(share, PerformanceOptions.mostThreads)
    largest = own
  }
}
