/// Of the operands of the linear layers' products in passes; sums, parameters and gradients are in float32 with either.
public enum Precision: String, Codable, CaseIterable, Sendable {
  case f32
  /// Rounded to bfloat16, to nearest even.
  case bf16

  /// Parameters from which `auto` takes bfloat16: products of smaller models are small beside what is done around them.
  package static let smallestAutomaticModel = 10_000_000
}

/// What makes the linear layers' products in a model's passes: chosen by the plan, the same for all of them.
package enum LayerProducts: Sendable, Hashable {
  case float32
  case bfloat16(BFloat16Library)

  package init(_ precision: Precision) {
    switch precision {
    case .f32: self = .float32
    case .bf16: self = .bfloat16(.oneDNN)
    }
  }
}

package enum BFloat16Library: Sendable, Hashable {
  case oneDNN
  /// Float32 products of the rounded operands, for tests: the same numbers to the order of the sums, on any processor.
  case emulated
}
