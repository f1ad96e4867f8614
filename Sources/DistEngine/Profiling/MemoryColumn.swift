/// A column of the table that people see, on the terminal and on the page. Of several ranks the largest counts.
public struct MemoryColumn: Sendable {
  public let title: String
  /// Characters on the terminal.
  public let width: Int
  public let isText: Bool
  public let text: @Sendable (MemoryRecord) -> String

  private init(_ title: String, width: Int, isText: Bool = false, _ text: @escaping @Sendable (MemoryRecord) -> String) {
    (self.title, self.width, self.isText, self.text) = (title, width, isText, text)
  }

  /// What tells combinations apart.
  static let combination = [
    MemoryColumn("model", width: 11, isText: true) { $0.combination.model },
    MemoryColumn("mode", width: 8, isText: true) { $0.combination.mode.rawValue },
    MemoryColumn("b", width: 4) { "\($0.combination.microbatch)" },
    MemoryColumn("T", width: 4) { "\($0.combination.seqLen)" },
    MemoryColumn("shard", width: 9, isText: true) { $0.combination.sharding.rawValue },
    MemoryColumn("ranks", width: 5) { "\($0.ranks)" },
  ]

  public static let all =
    combination + [
      MemoryColumn("planned", width: 8) { text($0.byRank.map(\.plannedMb).max()) },
      rank("peak+", \.growth), rank("before", \.before), rank("alloc", \.allocated), rank("peak", \.peak),
      rank("stepped", \.afterStep), rank("released", \.afterRelease),
      MemoryColumn("node", width: 8) { text($0.byNode.compactMap { $0.pssMb?.peak }.max()) },
      MemoryColumn("total", width: 8) { text($0.total.pssMb?.peak) },
      MemoryColumn("s/step", width: 9) { $0.stepSecondsMedian?.formatted(digits: 4) ?? "-" },
      MemoryColumn("max b", width: 7) { $0.largestMicrobatch.map { "\($0)" } ?? "-" },
    ]

  public static let explanation =
    "b: records of a microbatch, and of a rank's share of the batch. T: targets of a record. MB of the largest rank: planned; peak+, the "
    + "most above what it held before; its resident set before, with fresh parameters, at the peak, after the steps, after release. MB of "
    + "the largest node and of all nodes: PSS at the peak. s/step: median. max b: the largest microbatch whose plan fits."

  private static func rank(_ title: String, _ stage: KeyPath<MemoryStages, Double> & Sendable) -> MemoryColumn {
    MemoryColumn(title, width: 8) { record in text(record.byRank.compactMap { $0.rssMb?[keyPath: stage] }.max()) }
  }

  private static func text(_ megabytes: Double?) -> String { megabytes?.formatted(digits: 1) ?? "-" }
}
