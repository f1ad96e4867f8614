import DistEngine
import Foundation
import FoundationXML
import TestSupport
import Testing

@Suite struct MemoryReportTests {
  /// As it stands in memory.json.
  private static func record(
    _ mode: TrainingMode, microbatch: Int = 1, ranks: Int = 1, isMeasured: Bool = true, model: String = "tiny",
    reason: String? = nil
  ) throws -> MemoryRecord {
    let stages = ["before": 40, "allocated": 140, "peak": 141, "after_step": 140.5, "after_release": 41]
    var rank: [String: Any] = ["host": "host", "planned_mb": 100, "planned_by_category_mb": ["parameters": 100]]
    var group: [String: Any] = ["hosts": ["host"], "ranks": ranks, "planned_mb": 100 * ranks, "available_mb": 5000]
    var record: [String: Any] = [
      "combination": [
        "model": model, "mode": mode.rawValue, "microbatch": microbatch, "seq_len": 8, "sharding": "none", "optimizer": "adamw",
      ],
      "parameters": 1000, "outcome": isMeasured ? "measured" : "skipped", "largest_microbatch": 40, "peak_was_reset": true,
    ]
    if isMeasured {
      rank["rss_mb"] = stages
      rank["resident_by_category_mb"] = ["parameters": 99]
      group["pss_mb"] = stages
      record["step_seconds_median"] = 0.25
    }
    record["reason"] = reason
    record["by_rank"] = [[String: Any]](repeating: rank, count: ranks)
    record["by_node"] = [group]
    record["total"] = group
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(MemoryRecord.self, from: JSONSerialization.data(withJSONObject: record))
  }

  private static func report(_ records: [MemoryRecord]) -> MemoryReport {
    var report = MemoryReport()
    report.records = records
    return report
  }

  /// The page is well-formed, and these are the texts of its elements of a name.
  private func elements(_ name: String, of page: String) throws -> [String] {
    let document = try XMLDocument(xmlString: page.replacing("<!DOCTYPE html>", with: ""))
    return try document.nodes(forXPath: "//*[local-name()='\(name)']").map { $0.stringValue ?? "" }
  }

  @Test func aPageWithoutRecords() throws {
    let page = MemoryPage(MemoryReport()).html()
    #expect(try elements("svg", of: page) == [])
    #expect(try elements("p", of: page).contains("No combination: nothing to plot."))
    #expect(try elements("li", of: page).first?.hasPrefix("NOT private") == true)
  }

  @Test func aPlotForEachShapeAndNumberOfRanks() throws {
    let page = try MemoryPage(
      Self.report([
        Self.record(.ghost), Self.record(.hooks), Self.record(.ghost, microbatch: 2), Self.record(.ghost, ranks: 2),
        Self.record(.ghost, ranks: 4, isMeasured: false, reason: "needs <more>"),
      ])
    ).html()
    // Microbatches on 1, 2 and 4 ranks; ranks for ghost with b 1.
    #expect(try elements("svg", of: page).count == 4)
    #expect(page.components(separatedBy: "class=\"mark\"").count - 1 == 3 + 1 + 2 + (2 + 1 + 1 + 1))
    // Both tables: a header, and a line for each record.
    #expect(try elements("tr", of: page).count == 12)
    #expect(try elements("td", of: page).filter { $0 == "100.0 / 99.0" }.count == 4)
    #expect(try elements("td", of: page).contains("needs <more>"))
    // From a file, without a network: nothing is fetched.
    for word in ["src=", "href=", "@import", "url(", "<script"] { #expect(!page.contains(word), "\(word)") }
  }

  @Test func namesAreEscaped() throws {
    let name = "a<b>&\"c'"
    let page = try MemoryPage(Self.report([Self.record(.ghost, model: name)])).html()
    #expect(try elements("text", of: page).contains { $0.contains(name) })
    #expect(try elements("td", of: page).contains(name))
    #expect(Markup.escaped(name) == "a&lt;b&gt;&amp;&quot;c&#39;")
  }

  /// Nothing, one point, the origin, huge values: coordinates stay numbers within the picture.
  @Test(arguments: [[], [(1.0, 20.0)], [(0.0, 0.0)], [(1.0, 1e-5), (16.0, 3e-5)], [(4096.0, 1e7)]])
  func marksLieWithinThePlot(points: [(Double, Double)]) throws {
    let places = points.map { LinePlot.Point(x: $0.0, y: $0.1) }
    let svg = LinePlot(
      title: "t", xLabel: "x", yLabel: "y", series: [LinePlot.Series(name: "s", planned: places, measured: places)]
    ).svg()
    let document = try XMLDocument(xmlString: svg)
    // One more in the legend.
    for (name, range) in [("cx", 74.0...544), ("cy", 42.0...308)] {
      let places = try document.nodes(forXPath: "//*[local-name()='circle']/@\(name)").compactMap {
        $0.stringValue.flatMap { Double($0) }
      }
      #expect(places.count == points.count + 1 && places.allSatisfy(range.contains), "\(name): \(places)")
    }
    #expect(!svg.contains("nan") && !svg.contains("inf"))
  }

  @Test func csvHasALineForEachRankNodeAndTotal() throws {
    let csv = try Self.report([
      Self.record(.ghost, ranks: 2), Self.record(.hooks, isMeasured: false, model: "a,\"b", reason: "too large"),
    ]).csv()
    let lines = csv.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    #expect(lines.count == 1 + 4 + 3 + 1 && lines.last == "")
    #expect(
      lines[1].hasPrefix(
        "tiny,1000,ghost,1,8,none,adamw,2,measured,,0.250000,40,rank,0,host,100.000,,rss,40.000,140.000,141.000,140.500,41.000,100.000,"
      ))
    #expect(lines[4].hasPrefix("tiny,1000,ghost,1,8,none,adamw,2,measured,,0.250000,40,total,,host,200.000,5000.000,pss,40.000,"))
    #expect(
      lines[5].hasPrefix("\"a,\"\"b\",1000,hooks,1,8,none,adamw,1,skipped,too large,,40,rank,0,host,100.000,,rss,,,,,,100.000,"))
    // Commas outside of quotes: as many in each line.
    let counts = lines.dropLast().map { $0.replacing("\"a,\"\"b\"", with: "").count { $0 == "," } }
    #expect(Set(counts) == [22 + 2 * MemoryPlan.Category.allCases.count])
  }

  @Test func reportsAreMergedEachRecordOnce() throws {
    let directory = try TemporaryDirectory()
    let first = try Self.report([Self.record(.ghost), Self.record(.hooks, isMeasured: false, reason: "why")])
    let second = try Self.report([Self.record(.ghost), Self.record(.ghost, ranks: 2)])
    let files = [try directory.file("1.json", first.json()), try directory.file("2.json", second.json())]
    let merged = try MemoryReport(merging: files)
    #expect(merged.records == first.records + [second.records[1]])
    #expect(merged.notes == first.notes)
    let ranksMissing = try Self.report([Self.record(.ghost, ranks: 0)]).json()
    for (text, reason) in [(Array("{\"version\": \"1\"}".utf8), "notes"), (ranksMissing, "ranks"), (Array("no".utf8), "JSON")] {
      let bad = try directory.file("bad.json", text)
      let error = #expect(throws: (any Error).self) { try MemoryReport(merging: [bad]) }
      let message = (error as? any UserError)?.description ?? ""
      #expect(message.hasPrefix("--merge \(bad): isn't a memory report") && message.contains(reason), "\(message)")
    }
  }

  @Test func theLargestMicrobatchThatFits() {
    func largest(_ budget: Int, ranks: Int, available: Int? = nil) -> Int? {
      NodeLimit(
        host: "host", ranks: ranks, available: AvailableMemory(byteCount: available, limit: "MemAvailable", sharedByteCount: nil),
        budget: budget
      ).largestMicrobatch { ranks * (100 + 10 * $0) }
    }
    #expect(largest(109, ranks: 1) == 0)
    #expect(largest(110, ranks: 1) == 1)
    #expect(largest(239, ranks: 1) == 13)
    #expect(largest(239, ranks: 2) == 1)
    #expect(largest(1 << 50, ranks: 1) == 1_000_000)
    #expect(largest(1 << 50, ranks: 2, available: 2 * (NodeLimit.reservePerRank + 130)) == 3)
    #expect(largest(109, ranks: 1, available: 0) == 0)
  }

  @Test func aNodeRefusesWhatItDoesNotHave() {
    let limit = NodeLimit(
      host: "n1", ranks: 2, available: AvailableMemory(byteCount: nil, limit: "nothing known", sharedByteCount: nil),
      budget: 10 << 20)
    #expect(limit.refusal(of: 10 << 20) == nil)
    #expect(limit.refusal(of: 12 << 20) == "needs 12 MB on n1 (2 ranks), which has 10 MB for it (--memory-budget)")
  }
}
