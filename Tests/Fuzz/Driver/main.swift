// Any bytes, found by libFuzzer: see scripts/fuzz. Built only where DP_MPIRUN_FUZZ is set.
import FuzzTargets
import Foundation

private let target: FuzzTarget = {
  let name = ProcessInfo.processInfo.environment["DP_MPIRUN_FUZZ"] ?? ""
  guard let target = FuzzTarget(rawValue: name) else { fatalError("DP_MPIRUN_FUZZ: no format \"\(name)\"") }
  return target
}()

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  do { try target.check(Array(UnsafeBufferPointer(start: bytes, count: count))) } catch { fatalError("\(error)") }
  return 0
}

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
  _ count: UnsafeMutablePointer<CInt>, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
  _ test: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

var count = CommandLine.argc
var arguments = CommandLine.unsafeArgv
exit(runDriver(&count, &arguments, testOneInput))
