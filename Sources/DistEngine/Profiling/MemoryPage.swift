/// A report as one HTML page that needs nothing beside it: plots, table, notes.
package struct MemoryPage {
  private let report: MemoryReport

  package init(_ report: MemoryReport) { self.report = report }

  package func html() -> String {
    let plots = microbatchPlots() + rankPlots()
    let figures =
      plots.isEmpty
      ? "<p>No combination: nothing to plot.</p>" : plots.map { "<figure>\n\($0.svg())\n</figure>" }.joined(separator: "\n")
    return """
      <!DOCTYPE html>
      <html lang="en">
      <head>
      <meta charset="utf-8"/>
      <title>dp-mpirun: memory</title>
      <style>
      body { font-family: system-ui, sans-serif; margin: 2em; max-width: 1180px; color: #111; background: #fff }
      figure { display: inline-block; width: 560px; margin: 0 1em 1em 0 }
      table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
      th, td { border-bottom: 1px solid #ddd; padding: 3px 8px; text-align: right; vertical-align: top; white-space: nowrap }
      th { border-bottom: 1px solid #333 }
      th.text, td.text { text-align: left }
      td.reason { text-align: left; white-space: normal; min-width: 16em }
      </style>
      </head>
      <body>
      <h1>Memory by model, mode, microbatch and ranks</h1>
      <p>Lines: planned before anything was allocated. Marks: measured, the most above what the processes held before.
      MB are 2^20 bytes.</p>
      \(figures)
      <h2>What was measured</h2>
      <p>\(Markup.escaped(MemoryColumn.explanation))</p>
      \(table())
      <h2>By category</h2>
      <p>MB of one rank's buffers at the fullest point of a step, as planned / in memory at their places after the last step.</p>
      \(categoryTable())
      <h2>Notes</h2>
      <ul>
      \(report.notes.map { "<li>\(Markup.escaped($0))</li>" }.joined(separator: "\n"))
      </ul>
      <p>dp-mpirun \(Markup.escaped(report.version))</p>
      </body>
      </html>

      """
  }
}

// MARK: Plots

extension MemoryPage {
  /// What the lines of a plot have in common, in the order of the records.
  private func groups<Key: Hashable>(by key: (MemoryRecord) -> Key) -> [(key: Key, records: [MemoryRecord])] {
    var result: [(key: Key, records: [MemoryRecord])] = []
    for record in report.records {
      let own = key(record)
      if let index = result.firstIndex(where: { $0.key == own }) {
        result[index].records.append(record)
      } else {
        result.append((own, [record]))
      }
    }
    return result
  }

  /// MB a rank against the microbatch, by mode: a plot for each model, length, sharding, optimizer and number of ranks.
  private func microbatchPlots() -> [LinePlot] {
    struct Key: Hashable {
      var combination: MemoryCombination
      let ranks: Int
    }
    let plots = groups { record in
      var key = Key(combination: record.combination, ranks: record.ranks)
      (key.combination.mode, key.combination.microbatch) = (.standard, 0)
      return key
    }
    return plots.map { key, records in
      let shape = key.combination
      return plot(
        "\(shape.model), T \(shape.seqLen), \(shape.optimizer), \(Self.ranks(key.ranks)), sharding \(shape.sharding.rawValue)",
        records, xLabel: "microbatch (records)", quantity: "memory of a rank", by: { $0.combination.mode.rawValue },
        x: { $0.combination.microbatch }, planned: { $0.byRank.map(\.plannedMb).max() ?? 0 },
        measured: { $0.byRank.compactMap { $0.rssMb?.growth }.max() })
    }
  }

  /// MB of all ranks together against their number, by sharding: a plot for each model, mode, microbatch and length that was run with
  /// several numbers of ranks.
  private func rankPlots() -> [LinePlot] {
    let plots = groups { record in
      var key = record.combination
      key.sharding = .none
      return key
    }
    return plots.filter { Set($0.records.map(\.ranks)).count > 1 }.map { shape, records in
      plot(
        "\(shape.model), \(shape.mode.rawValue), b \(shape.microbatch) a rank, T \(shape.seqLen), \(shape.optimizer)",
        records, xLabel: "ranks", quantity: "memory of all ranks", by: { "sharding \($0.combination.sharding.rawValue)" }, x: { $0.ranks },
        planned: { $0.total.plannedMb }, measured: { $0.total.pssMb?.growth })
    }
  }

  private func plot(
    _ title: String, _ records: [MemoryRecord], xLabel: String, quantity: String, by name: (MemoryRecord) -> String,
    x: (MemoryRecord) -> Int, planned: (MemoryRecord) -> Double, measured: (MemoryRecord) -> Double?
  ) -> LinePlot {
    let largest = records.map { max(planned($0), measured($0) ?? 0) }.max() ?? 0
    let (scale, label) = largest >= 8192 ? (1.0 / 1024, "GB") : (1.0, "MB")
    var series: [LinePlot.Series] = []
    for record in records.sorted(by: { x($0) < x($1) }) {
      let own = name(record)
      let index =
        series.firstIndex { $0.name == own }
        ?? {
          series.append(LinePlot.Series(name: own, planned: [], measured: []))
          return series.count - 1
        }()
      series[index].planned.append(LinePlot.Point(x: Double(x(record)), y: planned(record) * scale))
      // A peak of the process's whole life is not this combination's.
      if record.peakWasReset, let measured = measured(record) {
        series[index].measured.append(LinePlot.Point(x: Double(x(record)), y: measured * scale))
      }
    }
    return LinePlot(title: title, xLabel: xLabel, yLabel: "\(quantity) (\(label))", series: series)
  }

  private static func ranks(_ count: Int) -> String { count == 1 ? "1 rank" : "\(count) ranks" }
}

// MARK: Tables

extension MemoryPage {
  private func table() -> String {
    let rows = report.records.map { record in
      Self.cells("td", MemoryColumn.all.map { ($0.text(record), $0.isText) })
        + "<td class=\"reason\">\(Markup.escaped(record.reason ?? ""))</td>"
    }
    return Self.table([Self.cells("th", MemoryColumn.all.map { ($0.title, $0.isText) }) + "<th></th>"] + rows)
  }

  /// Of rank 0.
  private func categoryTable() -> String {
    let (names, categories) = (MemoryColumn.combination, MemoryPlan.Category.allCases)
    let header = names.map { ($0.title, $0.isText) } + categories.map { ($0.rawValue, false) }
    let rows = report.records.map { record in
      let values = categories.map { category in
        let planned = record.byRank[0].plannedByCategoryMb[category.key] ?? 0
        let resident = record.byRank[0].residentByCategoryMb.map { ($0[category.key] ?? 0).formatted(digits: 1) }
        return planned == 0 ? "" : "\(planned.formatted(digits: 1)) / \(resident ?? "-")"
      }
      return Self.cells("td", names.map { ($0.text(record), $0.isText) } + values.map { ($0, false) })
    }
    return Self.table([Self.cells("th", header)] + rows)
  }

  private static func cells(_ tag: String, _ texts: [(String, isText: Bool)]) -> String {
    texts.map { text, isText in "<\(tag)\(isText ? " class=\"text\"" : "")>\(Markup.escaped(text))</\(tag)>" }.joined()
  }

  private static func table(_ rows: [String]) -> String {
    "<table>\n\(rows.map { "<tr>\($0)</tr>" }.joined(separator: "\n"))\n</table>"
  }
}
