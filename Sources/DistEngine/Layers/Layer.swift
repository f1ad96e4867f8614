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
  /// - Parameters:
  ///   - gradient: at the stream behind the layer, `[R,d]`.
  ///   - goesOn: false: nothing before the layer is trained, and the products that only what is before it would need are left out.
  /// - Returns: that before it; of no meaning where nothing needs it.
  func backward(_ gradient: Matrix, goesOn: Bool, in pass: Pass, into sink: any GradientSink) -> Matrix
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
