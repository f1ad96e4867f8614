import COpenBLAS
import Testing

@Suite("OpenBLAS is found, linked and right")
struct LibraryTests {
  @Test func aProductOfTwoByTwo() {
    let a: [Float] = [1, 2, 3, 4], b: [Float] = [5, 6, 7, 8]
    var c: [Float] = [1, 1, 1, 1]
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, 2, 2, 2, 2, a, 2, b, 2, 10, &c, 2)
    #expect(c == [44, 56, 88, 116])
  }

  @Test func aSymmetricUpdateLeavesTheUpperTriangle() {
    let a: [Float] = [1, 2, 3, 4]
    var c: [Float] = [0, -1, 0, 0]
    cblas_ssyrk(CblasRowMajor, CblasLower, CblasNoTrans, 2, 2, 1, a, 2, 0, &c, 2)
    #expect(c == [5, -1, 11, 25])
  }

  @Test func theThreadCountIsOursToSet() {
    openblas_set_num_threads(1)
    #expect(openblas_get_num_threads() == 1)
  }
}
