extension TokenizedDataset {
  /// What whoever gave the records should know of them before hours are spent: how many are cut and by how much, how many are empty.
  ///
  /// - Parameter name: what the records are called, such as `training`.
  package func notes(_ name: String) -> [String] {
    var notes: [String] = []
    if unitCount != count { notes.append("\(count) \(name) records of \(unitCount) units") }
    let (cut, targets) = cutRecords
    if cut > 0 {
      let all = totalTargetCount + targets
      notes.append(
        "\(cut) of \(count) \(name) records are longer than \(longestSequence) targets and are cut: \(targets) of \(all) targets are left out"
      )
    }
    if emptyRecordCount > 0 {
      notes.append(
        "\(emptyRecordCount) of \(count) \(name) records are empty: they count as records and hold nothing but the end of text")
    }
    return notes
  }
}
