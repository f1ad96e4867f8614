extension TokenizedDataset {
  /// What whoever gave the records should know of them before hours are spent: how many are cut and by how much, how many are empty.
  ///
  /// - Parameter name: what the records are called, such as `training`.
  package func notes(_ name: String) -> [String] {
    var notes: [String] = []
    if unitCount != count { notes.append("\(count) \(name) records of \(unitCount) units") }
    let rows = isClassification ? "ids" : "targets"
    if statistics.cutRecords > 0 {
      let all = totalTargetCount + statistics.cutRows
      notes.append(
        "\(statistics.cutRecords) of \(count) \(name) records are longer than \(longestSequence) \(rows) and are cut: \(statistics.cutRows) of \(all) \(rows) "
          + "are left out")
    }
    if statistics.uncountedRecords > 0 {
      notes.append(
        "\(statistics.uncountedRecords) of \(count) \(name) records are cut before their text begins: they count as records, with loss 0 and no gradient")
    }
    if statistics.emptyRecords > 0 {
      let left = isClassification ? "no text" : "nothing but the end of text"
      notes.append("\(statistics.emptyRecords) of \(count) \(name) records are empty: they count as records and hold \(left)")
    }
    return notes
  }
}
