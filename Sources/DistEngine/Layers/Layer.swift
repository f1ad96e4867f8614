/// A part of a block that adds to the residual stream. Coarse: a call is several products, so `any Layer` costs nothing.
///
/// A layer is made with the model's declaration, forward; then ``declareBackward(_:in:)`` goes through the layers as the backward pass will,
/// from the last to the first, and says what is read then.
package protocol Layer: Sendable {
  /// Adds to the stream, `[R,d]`.
  ///
  /// - Parameter needsResult: false leaves out the last product (recomputation).
  func forward(_ stream: Matrix, needsResult: Bool, in pass: Pass)

  /// - Parameter gradient: of the stream behind the layer.
  /// - Returns: of the stream before it.
  mutating func declareBackward(_ gradient: PassBufferID, in d: inout ModelDeclaration) -> PassBufferID

  /// Hands over each gradient before what it rests on is overwritten.
  ///
  /// - Parameter gradient: at the stream behind the layer, `[R,d]`.
  /// - Returns: that before it.
  func backward(_ gradient: Matrix, in pass: Pass, into sink: any GradientSink) -> Matrix
}

extension GradientSink {
  /// Hands over a layer's gradient for packed rows, unless all of its tensors are frozen.
  func receive(_ gradient: LinearGradient, in pass: Pass) {
    if gradient.primary != nil || gradient.secondary != nil { receive(.linear(gradient), units: pass.batch.unitRows) }
  }

  func receive(_ gradient: NormGradient, in pass: Pass) {
    if gradient.primary != nil || gradient.secondary != nil { receive(.norm(gradient), units: pass.batch.unitRows) }
  }

  func receive(_ gradient: TableGradient, in pass: Pass) {
    if gradient.primary != nil { receive(.table(gradient), units: pass.batch.unitRows) }
  }
}
