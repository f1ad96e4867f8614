import DistEngine
import Foundation

/// The tensors of a safetensors file, in double.
struct TensorFile {
  struct Tensor {
    let shape: [Int]
    let values: [Double]
  }

  let tensors: [String: Tensor]

  init(_ path: String) throws {
    let file = try SafetensorsFile(path: path)
    var tensors: [String: Tensor] = [:]
    for tensor in file.tensors {
      var values = [Float](repeating: .nan, count: tensor.count)
      try values.withUnsafeMutableBufferPointer { try file.read(tensor, into: $0) }
      tensors[tensor.name] = Tensor(shape: tensor.shape, values: values.map(Double.init))
    }
    self.tensors = tensors
  }

  var names: [String] { tensors.keys.sorted() }

  subscript(name: String) -> [Double] { tensors[name]?.values ?? [] }

  /// All elements of some tensors, in canonical order.
  func elements(of names: [String]? = nil) -> [Double] { (names ?? self.names).flatMap { self[$0] } }
}

/// L2 norm of the difference, over that of `expected`.
func relativeDistance(_ actual: [Double], _ expected: [Double]) -> Double {
  guard actual.count == expected.count else { return .infinity }
  var (difference, size) = (0.0, 0.0)
  for (a, e) in zip(actual, expected) {
    difference += (a - e) * (a - e)
    size += e * e
  }
  return (difference / size).squareRoot()
}
