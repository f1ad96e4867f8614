import DistEngine
import Testing

@Suite struct GradientCoverageTests {
  @Test(arguments: TrainingMode.allCases, try SmallModels.all())
  func everyTensorHasAGradientForEachOfItsUses(mode: TrainingMode, model: ModelConfiguration) throws {
    for logits in [nil, PassPolicy.LogitStorage.whole, .chunks(rows: 7)] {
      let replica = try SmallModels.replica(mode, model, choices: .init(logits: logits))
      #expect(replica.tensorsWithoutGradient() == [])
    }
  }

  @Test func whatIsNotCoveredIsNamed() throws {
    let layout = try SmallModels.configuration(tied: true, layers: 1).parameterLayout
    let norm = layout["transformer.ln_f.weight"].index
    let coverage = GradientCoverage(tensors: layout.count)
    let buffer = AlignedBuffer<Float>(count: 16)
    let row = Matrix(buffer.base, rows: 1, columns: 16)
    for tensor in layout where tensor.index != norm {
      let gradient = LinearGradient(primary: tensor.index, secondary: nil, layout: .inputByOutput, input: .stored(row), outputGradient: row)
      coverage.receive(.linear(gradient), units: [0..<1])
    }
    let table = layout["transformer.wte.weight"].index
    #expect(coverage.missing(layout, tiedTensor: nil) == ["transformer.ln_f.weight"])
    #expect(coverage.missing(layout, tiedTensor: table) == ["transformer.ln_f.weight", "transformer.wte.weight"])
    withExtendedLifetime(buffer) {}
  }
}
