import Foundation

/// What memory scaling runs found: `memory.json`, `memory.csv`, `memory.html`.
public struct MemoryReport: Codable, Equatable, Sendable {
  public var version = ProgramVersion.current
  /// What a reader of the figures has to know.
  public private(set) var notes: [String] = []
  public package(set) var records: [MemoryRecord] = []

  public init() {
    note(
      "NOT private: synthetic records of full length, the same ones in every step. These runs measure memory and time, nothing else."
    )
    note(
      "Resident sets count memory that ranks share in each rank; proportional sets (PSS) count it once, and a node's peak is the "
        + "largest sum seen at the fixed points of a combination.")
  }

  /// A report that is said to be one and can't be read.
  struct Unreadable: UserError {
    let path: String
    let reason: String
    var description: String { "--merge \(path): isn't a memory report of this program (memory.json): \(reason)" }
  }

  /// With the records of earlier reports; one that several of them hold comes once.
  package init(merging paths: [String]) throws {
    self.init()
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    for path in paths {
      let bytes = try FileBytes.read(path)
      let earlier: MemoryReport
      do {
        earlier = try decoder.decode(MemoryReport.self, from: Data(bytes))
      } catch {
        throw Unreadable(path: path, reason: DecodingError.location(of: error) + DecodingError.reason(of: error))
      }
      guard earlier.records.allSatisfy({ $0.ranks > 0 }) else { throw Unreadable(path: path, reason: "a record without ranks") }
      for text in earlier.notes { note(text) }
      for record in earlier.records where !records.contains(record) { records.append(record) }
    }
  }

  mutating func note(_ text: String) {
    if !notes.contains(text) { notes.append(text) }
  }

  public func json() throws -> [UInt8] { try JSONEncoder.files.encode(self) + [UInt8(ascii: "\n")] }

  private static let files = ["memory.json", "memory.csv", "memory.html"]

  /// Makes the directory. One that holds a report is refused: nothing is ever overwritten.
  static func prepare(directory: String) throws {
    try AtomicFile.makeDirectory(directory)
    for file in files where FileManager.default.fileExists(atPath: "\(directory)/\(file)") {
      throw TrainingError.outputHoldsRun(directory)
    }
    guard access(directory, W_OK | X_OK) == 0 else { throw FileError(path: directory, action: "written to", code: errno) }
  }

  func write(to directory: String) throws {
    try AtomicFile.write(json(), to: "\(directory)/memory.json")
    try AtomicFile.write(csv().utf8, to: "\(directory)/memory.csv")
    try AtomicFile.write(MemoryPage(self).html().utf8, to: "\(directory)/memory.html")
  }
}

// MARK: CSV

extension MemoryReport {
  /// A line for each rank (resident set), each node and the total (PSS) of every record; a column for each quantity, empty where
  /// there is none.
  package func csv() -> String {
    let categories = MemoryPlan.Category.allCases.map(\.key)
    let header =
      [
        "model", "parameters", "mode", "microbatch", "seq_len", "sharding", "optimizer", "ranks", "outcome", "reason",
        "step_seconds_median", "largest_microbatch", "scope", "index", "hosts", "planned_mb", "available_mb", "measure",
        "before_mb",
        "allocated_mb", "peak_mb", "after_step_mb", "after_release_mb",
      ] + categories.map { "planned_\($0)_mb" } + categories.map { "resident_\($0)_mb" }
    let lines = [header] + records.flatMap { Self.rows($0, categories: categories) }
    return lines.map { $0.map(Self.field).joined(separator: ",") + "\n" }.joined()
  }

  private static func rows(_ record: MemoryRecord, categories: [String]) -> [[String]] {
    let combination = record.combination
    let common = [
      combination.model, "\(record.parameters)", combination.mode.rawValue, "\(combination.microbatch)", "\(combination.seqLen)",
      combination.sharding.rawValue, combination.optimizer, "\(record.ranks)", record.outcome.rawValue, record.reason ?? "",
      text(record.stepSecondsMedian, digits: 6), record.largestMicrobatch.map { "\($0)" } ?? "",
    ]
    let ranks = record.byRank.enumerated().map { index, rank in
      common + ["rank", "\(index)", rank.host, text(rank.plannedMb), "", "rss"] + text(rank.rssMb)
        + categories.map { text(rank.plannedByCategoryMb[$0]) } + categories.map { text(rank.residentByCategoryMb?[$0]) }
    }
    let none = [String](repeating: "", count: 2 * categories.count)
    let group = { (scope: String, index: String, group: NodeMemory) in
      common + [scope, index, group.hosts.joined(separator: " "), text(group.plannedMb), text(group.availableMb), "pss"]
        + text(group.pssMb) + none
    }
    return ranks + record.byNode.enumerated().map { group("node", "\($0)", $1) } + [group("total", "", record.total)]
  }

  private static func text(_ stages: MemoryStages?) -> [String] {
    [stages?.before, stages?.allocated, stages?.peak, stages?.afterStep, stages?.afterRelease].map { text($0) }
  }

  private static func text(_ value: Double?, digits: Int = 3) -> String { value?.formatted(digits: digits) ?? "" }

  /// RFC 4180: quoted where it holds a comma, a quote or the end of a line.
  private static func field(_ text: String) -> String {
    guard text.contains(where: { $0 == "," || $0 == "\"" || $0.isNewline }) else { return text }
    return "\"" + text.replacing("\"", with: "\"\"") + "\""
  }
}
