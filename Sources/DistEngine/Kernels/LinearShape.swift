/// Inputs d and outputs p of a linear layer.
public struct LinearShape: Hashable, Sendable, BitwiseCopyable {
  public let inputs: Int
  public let outputs: Int

  package init(inputs: Int, outputs: Int) {
    self.inputs = inputs
    self.outputs = outputs
  }
}
