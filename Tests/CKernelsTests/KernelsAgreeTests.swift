import TestSupport
import Testing

@Suite("Every kernel computes what its naive twin in double computes")
struct KernelsAgreeTests {
  @Test(arguments: KernelCheck.all, KernelCheck.shapes)
  func atEveryShape(check: KernelCheck, shape: KernelCheck.Shape) {
    var random = TestRandom(seed: UInt64(shape.rows * 2048 + shape.columns))
    var findings = Findings()
    check.run(shape, &random, &findings)
    #expect(findings.failures.isEmpty, "\(check) at \(shape): \(findings.failures.joined(separator: "; "))")
  }
}
