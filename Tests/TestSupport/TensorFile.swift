import DistEngine
import Foundation

/// The tensors of a safetensors file, in double.
package struct TensorFile {
  package struct Tensor {
    package let shape: [Int]
    package let values: [Double]
  }

  package let tensors: [String: Tensor]

  package init(_ path: String) throws {
    let file = try SafetensorsFile(path: path)
    var tensors: [String: Tensor] = [:]
    for tensor in file.tensors {
      var values = [Float](repeating: .nan, count: tensor.count)
      try values.withUnsafeMutableBufferPointer { try file.read(tensor, into: $0) }
      tensors[tensor.name] = Tensor(shape: tensor.shape, values: values.map(Double.init))
    }
    self.tensors = tensors
  }

  package var names: [String] { tensors.keys.sorted() }

  package subscript(name: String) -> [Double] { tensors[name]?.values ?? [] }

  /// All elements of some tensors, in canonical order.
  package func elements(of names: [String]? = nil) -> [Double] { (names ?? self.names).flatMap { self[$0] } }
}

/// L2 norm of the difference, over that of `expected`.
package func relativeDistance(_ actual: some Collection<Double>, _ expected: some Collection<Double>) -> Double {
  guard actual.count == expected.count else { return .infinity }
  var (difference, size) = (0.0, 0.0)
  for (a, e) in zip(actual, expected) {
    difference += (a - e) * (a - e)
    size += e * e
  }
  return size == 0 ? difference.squareRoot() : (difference / size).squareRoot()
}
