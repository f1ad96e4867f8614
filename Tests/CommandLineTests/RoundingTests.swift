import DistEngine
import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// What a record's presence changes in the sum beyond its own contribution: the rounding of all the others'. docs/privacy.md has what is
  /// proven of it; this is what is measured.
  @Suite struct RoundingTests {
    private static let maxGradNorm = 0.01

    private func sum(_ data: String, _ records: Range<Int>, ranks: Int?) throws -> [Double] {
      let directory = try TemporaryDirectory()
      let file = "\(directory.path)/sum.safetensors"
      let arguments = ["inspect", "--model", "tiny", "--data", data, "--seq-len", "128", "--max-grad-norm", "\(Self.maxGradNorm)", "--seed", "1"]
      let outcome = try Program.run(arguments + ["--records", "\(records.lowerBound)..<\(records.upperBound)", "--out", file], ranks: ranks)
      try #require(outcome.status == 0, "\(outcome.standardError)")
      let tensors = try TensorFile(file)
      #expect(tensors["clip_factors"].allSatisfy { $0 < 1 }, "every record has the norm C")
      return tensors.elements(of: tensors.names.filter { !["clip_factors", "losses", "norms"].contains($0) })
    }

    /// ‖S(n + 1 records) − S(n records) − the last one's contribution‖ / C.
    private func change(_ data: String, records n: Int, ranks: Int?) throws -> Double {
      let (without, with, own) = (try sum(data, 0..<n, ranks: ranks), try sum(data, 0..<n + 1, ranks: ranks), try sum(data, n..<n + 1, ranks: nil))
      var square = 0.0
      for index in own.indices {
        let rest = with[index] - without[index] - own[index]
        square += rest * rest
      }
      return square.squareRoot() / Self.maxGradNorm
    }

    @Test func aRecordsPresenceMovesTheOthersSumByLittle() throws {
      let directory = try TemporaryDirectory()
      // Contributions that all point the same way: the largest sum that there can be.
      let equal = try directory.file("equal.txt", String(repeating: "the same record over and over, as long as many a message\n", count: 5000))
      // DP_MPIRUN_ROUNDING_RECORDS=512,1025 has more.
      let more = ProcessInfo.processInfo.environment["DP_MPIRUN_ROUNDING_RECORDS"]?.split(separator: ",").compactMap { Int($0) } ?? []
      let cases: [(String, String, Int, Int?)] =
        [
          ("builtin", "builtin", 256, nil), ("builtin", "builtin", 256, 3), ("equal records", equal, 256, nil), ("equal records", equal, 256, 3),
          ("builtin", "builtin", 4096, nil),
        ] + more.flatMap { [("builtin", "builtin", $0, nil), ("equal records", equal, $0, nil)] }
      for (name, data, records, ranks) in cases {
        let change = try change(data, records: records, ranks: ranks)
        let margin = ClippedGradientSum.roundingMargin(expectedBatchSize: records)
        print("rounding: \(name), \(records) records, \(ranks ?? 1) ranks: \(change) C, \(change / margin) of the margin")
        #expect(change > 0 && change < margin, "\(name), \(records) records, \(ranks ?? 1) ranks: \(change) C")
      }
    }
  }
}
