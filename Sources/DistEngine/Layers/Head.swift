/// What stands on a model's blocks and makes losses of them.
package enum Head: Sendable {
  /// The next token's logits, a row each.
  case language(LanguageHead)
  /// A sequence's label's.
  case classifier(ClassifierHead)

  /// The language head; nil of a classifier.
  package var language: LanguageHead? {
    if case .language(let head) = self { head } else { nil }
  }

  /// - Parameter input: `[R,d]`, the head's.
  /// - Returns: the gradient at it.
  mutating func declareBackward(input: PassBufferID, in d: inout ModelDeclaration) -> PassBufferID {
    switch self {
    case .language(var head):
      let gradient = head.declareBackward(input: input, in: &d)
      self = .language(head)
      return gradient
    case .classifier(var head):
      let gradient = head.declareBackward(in: &d)
      self = .classifier(head)
      return gradient
    }
  }

  /// Writes the batch's losses, in nats a row or a sequence.
  func losses(_ input: Matrix, in pass: Pass) {
    switch self {
    case .language(let head): head.losses(input, in: pass)
    case .classifier(let head): head.losses(input, in: pass)
    }
  }

  /// Writes losses, hands over the head's gradient and returns that at its input, `[R,d]`.
  func lossesAndGradient(_ input: Matrix, in pass: Pass, into sink: any GradientSink) -> Matrix {
    switch self {
    case .language(let head): head.lossesAndGradient(input, in: pass, into: sink)
    case .classifier(let head): head.lossesAndGradient(input, in: pass, into: sink)
    }
  }
}
