import CMPI
import Testing

/// What holds before MPI is started; the calls themselves are tested under mpirun, in DistEngineMPITests.
@Suite struct CMPITests {
  @Test func isNotStartedByLoading() {
    var flag: Int32 = 7
    #expect(CMPI_Initialized(&flag) == CMPI_success())
    #expect(flag == 0)
    #expect(CMPI_Finalized(&flag) == CMPI_success())
    #expect(flag == 0)
  }

  @Test func handlesAreDistinct() {
    #expect(Set([CMPI_float(), CMPI_double(), CMPI_int64()].map(\.raw)).count == 3)
    #expect(Set([CMPI_sum(), CMPI_max(), CMPI_min()].map(\.raw)).count == 3)
  }

  @Test func textsHaveRoom() {
    #expect(CMPI_max_text() >= 256)
  }

  /// A count that an `int` can't hold never reaches MPI, which would see a negative one.
  @Test func countsBeyondIntAreRefused() {
    var byte: UInt8 = 1
    var other: UInt8 = 2
    let count = Int(Int32.max) + 1
    let codes = [
      CMPI_Bcast_bytes(&byte, count, 0, CMPI_comm_world()),
      CMPI_Allreduce_in_place(&byte, count, CMPI_float(), CMPI_sum(), CMPI_comm_world()),
      CMPI_Gather_bytes(&byte, count, &other, 0, CMPI_comm_world()),
      CMPI_Allgather_bytes(&byte, count, &other, CMPI_comm_world()),
    ]
    #expect(codes.allSatisfy { $0 != CMPI_success() })
    #expect(Set(codes).count == 1)
  }
}
