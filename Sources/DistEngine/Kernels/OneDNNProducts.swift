import COneDNN

/// Products of oneDNN that one thread makes: what the library prepares for a shape is kept, so that later calls of it allocate nothing.
package final class OneDNNProducts {
  /// What differs between products. All are made of row-major matrices, the right one maybe transposed.
  package struct Shape: Hashable {
    package var rows, columns, inner: Int
    package var isTransposed = false
    /// Elements from a row (of a transposed matrix: from a column) to the next.
    package var leftStride, rightStride, resultStride: Int

    package init(rows: Int, columns: Int, inner: Int, isTransposed: Bool, leftStride: Int, rightStride: Int, resultStride: Int) {
      (self.rows, self.columns, self.inner, self.isTransposed) = (rows, columns, inner, isTransposed)
      (self.leftStride, self.rightStride, self.resultStride) = (leftStride, rightStride, resultStride)
    }
  }

  package enum Element { case bfloat16, float32 }

  /// Why a product isn't made.
  package enum Failure: Error { case status(UInt32), severalThreads }

  private let element: Element
  private var engine: dnnl_engine_t?
  private var stream: dnnl_stream_t?
  private var products: [Shape: one_dnn_product] = [:]
  /// The library's name of what it last prepared.
  package private(set) var implementation = ""

  package init(_ element: Element) { self.element = element }

  deinit {
    for product in products.values { one_dnn_free_product(product) }
    if let stream { dnnl_stream_destroy(stream) }
    if let engine { dnnl_engine_destroy(engine) }
  }

  /// `c[m,n] = a[m,k] · b[k,n]`, on the thread that calls.
  package func multiply(_ shape: Shape, _ a: UnsafeRawPointer, _ b: UnsafeRawPointer, into c: UnsafeMutablePointer<Float>) throws(Failure) {
    guard one_dnn_hold_to_one_thread() != 0 else { throw .severalThreads }
    let product = if let kept = products[shape] { kept } else { try prepare(shape) }
    try check(one_dnn_run_product(product, stream, a, b, c))
  }

  private func prepare(_ shape: Shape) throws(Failure) -> one_dnn_product {
    if engine == nil { try check(one_dnn_make_engine(&engine, &stream)) }
    var product = one_dnn_product()
    var name: UnsafePointer<CChar>?
    let status = one_dnn_make_product(
      &product, engine, element == .bfloat16 ? 1 : 0, Int64(shape.rows), Int64(shape.columns), Int64(shape.inner), Int64(shape.leftStride),
      shape.isTransposed ? 1 : 0, Int64(shape.rightStride), Int64(shape.resultStride), &name)
    guard status == dnnl_success else {
      one_dnn_free_product(product)
      throw .status(status.rawValue)
    }
    implementation = name.map { String(cString: $0) } ?? ""
    products[shape] = product
    return product
  }

  private func check(_ status: dnnl_status_t) throws(Failure) {
    guard status == dnnl_success else { throw .status(status.rawValue) }
  }

  package static var processorHasBFloat16: Bool { one_dnn_processor_has_bf16() != 0 }

  package static var version: String {
    let version = dnnl_version().pointee
    return "oneDNN \(version.major).\(version.minor).\(version.patch)"
  }
}
