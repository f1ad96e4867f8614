/// A model as its family declared it: embeddings, blocks of layers on a residual stream, a norm and a head. The passes are the same for
/// every family.
package struct Model: Sendable {
  private var embeddings: Embeddings
  private var blocks: [[any Layer]]
  /// nil: the head's input is the stream.
  private let finalNorm: Norm?
  private var head: Head
  private let width: Int
  /// `[R,d]`: the residual stream, the head's input, and, where blocks are recomputed, the stream before each.
  private let stream: PassBufferID
  private let headInput: PassBufferID
  private var blockInputs: [PassBufferID] = []
  private let wide: PassBufferID
  private var headInputGradient, firstGradient: PassBufferID?
  /// The first stage with a trained tensor.
  private let lowestTrainedStage: Int?

  /// Puts together what a family declared, and declares the backward pass.
  ///
  /// - Parameter finalNorm: declared in the head's stage.
  init(
    embeddings: Embeddings, blocks: [[any Layer]], finalNorm: Norm?, head: Head, width: Int, in d: inout ModelDeclaration
  ) {
    self.embeddings = embeddings
    self.blocks = blocks
    self.finalNorm = finalNorm
    self.head = head
    self.width = width
    lowestTrainedStage = d.policy.isTraining ? d.lowestTrainedStage : nil
    let rows = d.capacity.rows
    stream = d.shared("residual", .activations, count: rows * width, lifetime: 0...d.timeline.head)
    headInput = finalNorm == nil ? stream : d.head { $0.activation("head input", columns: width) }
    wide = d.wideScratch(columns: width)
    if d.policy.recomputesBlocks {
      blockInputs = blocks.indices.map { l in
        d.at(l + 1) { d in
          let input = d.blockInput(columns: width)
          d.keepUntilBackward(input)
          if d.policy.repeatsBlocks { d.keep(input, until: d.timeline.weightedSum) }
          return input
        }
      }
    }
    declareBackward(in: &d)
  }

  /// As the backward pass goes: from the head down to the lowest stage with something trained.
  private mutating func declareBackward(in d: inout ModelDeclaration) {
    guard let lowest = lowestTrainedStage else { return }
    let goesOn = lowest < d.timeline.head
    var gradient = d.head { d in
      let atInput = head.declareBackward(input: headInput, in: &d)
      finalNorm?.declareBackward(outputGradient: atInput, continues: goesOn, in: &d)
      headInputGradient = atInput
      guard goesOn else { return atInput }
      // The second backward pass over blocks starts at the head's input again.
      if d.policy.repeatsBlocks {
        let sum = d.timeline.weightedSum
        d.keep(atInput, until: sum)
        finalNorm?.keep(until: sum, in: &d)
      } else if finalNorm == nil {
        firstGradient = atInput
        return atInput
      }
      let first = d.gradient(d.policy.booksBlocks ? "final residual gradient" : "residual gradient", columns: width)
      firstGradient = first
      return first
    }
    for l in blocks.indices.reversed() where l + 1 >= lowest {
      gradient = d.at(l + 1) { d in
        var gradient = gradient
        for layer in blocks[l].indices.reversed() { gradient = blocks[l][layer].declareBackward(gradient, in: &d) }
        return gradient
      }
    }
    if lowest == 0 { d.at(0) { embeddings.declareBackward(gradient, in: &$0) } }
  }
}

extension Model {
  /// The language head's weight among the trained tensors; nil: frozen, or there is none.
  package func headTensor(_ table: ParameterTable) -> Int? { head.language.flatMap { table.tensor($0.linear.weight) } }

  /// The same where the token table shares it.
  package func tiedTensor(_ table: ParameterTable) -> Int? {
    head.language.flatMap { table.useCount($0.linear.weight) > 1 ? headTensor(table) : nil }
  }
}

// MARK: Passes

extension Model {
  /// Runs the blocks and leaves the head's input `[R,d]`.
  private func forward(_ pass: Pass) -> Matrix {
    let stream = pass.matrix(stream, columns: width)
    embeddings.forward(into: stream, in: pass)
    for (l, block) in blocks.enumerated() {
      if !blockInputs.isEmpty { _ = pass.matrix(blockInputs[l], columns: width).elements.update(fromContentsOf: stream.elements) }
      for layer in block { layer.forward(stream, needsResult: true, in: pass) }
    }
    guard let finalNorm else { return stream }
    let headInput = pass.matrix(headInput, columns: width)
    finalNorm.forward(stream, into: headInput, in: pass)
    return headInput
  }

  /// Forward pass alone: writes `batch.losses`, in nats a row, of a classifier a sequence.
  package func losses(_ pass: Pass) {
    guard pass.rows > 0 else { return }
    head.losses(forward(pass), in: pass)
  }

  /// Forward pass alone: the logits `[V]` behind the last position of the only sequence of the microbatch.
  package func lastLogits(_ pass: Pass) -> Vector {
    precondition(pass.batch.sequences.count == 1, "generation runs one sequence at a time")
    guard let head = head.language else { preconditionFailure("a classifier has no next token") }
    return head.logits(forward(pass), rows: pass.rows - 1..<pass.rows, in: pass).elements
  }

  /// Forward pass alone: a classifier's logits, `[S,C]`, valid until the next pass.
  package func labelLogits(_ pass: Pass) -> Matrix {
    guard case .classifier(let head) = head else { preconditionFailure("a language model has no labels") }
    return head.logits(forward(pass), in: pass)
  }

  /// Forward and backward pass: writes `batch.losses` and hands every layer's gradient to `sink`, from the head down to the lowest stage
  /// with something trained.
  ///
  /// A layer's gradient is handed over when its output gradient is known and before anything it rests on is overwritten.
  /// With ``PassPolicy/Retention/weightedSum`` all of it stays valid until the next forward pass, unless blocks are
  /// recomputed: then ``repeatBlockGradients(_:into:)`` hands it over once more.
  /// A microbatch of no units hands over gradients of no rows: ranks that share a sum add to it layer by layer, together.
  package func lossesAndGradients(_ pass: Pass, into sink: any GradientSink) {
    let headInput = forward(pass)
    let headInputGradient = head.lossesAndGradient(headInput, in: pass, into: sink)
    if let finalNorm { sink.receive(finalNorm.gradient(outputGradient: headInputGradient, in: pass), in: pass) }
    guard let lowest = lowestTrainedStage, lowest <= blocks.count else { return }
    let bottom = blocksBackward(headInputGradient, pass, lastBlockIsThere: true, into: sink)
    if lowest == 0 { embeddings.backward(bottom, tiedHead: head.language?.tied(headInput, in: pass), in: pass, into: sink) }
  }

  /// Hands the gradients of the blocks to `sink` once more, by a second backward pass over recomputed blocks. It ends with the gradient
  /// at the embedding's output as it was, where that is trained.
  ///
  /// For flat clipping by book-keeping, whose factors are known behind the first pass. In products of R rows with all the
  /// blocks' matrices, a microbatch then takes 1 forward, 2 · 2/3 to recompute (a block's last product isn't needed), 2 for
  /// input gradients, 1 for the weighted sums, and the norms: 5 1/3, where 3 do without recomputation and 3 2/3 where nothing
  /// waits for factors.
  package func repeatBlockGradients(_ pass: Pass, into sink: any GradientSink) {
    guard let headInputGradient else { return }
    _ = blocksBackward(pass.matrix(headInputGradient, columns: width), pass, lastBlockIsThere: false, into: sink)
  }

  /// The head's gradient over some rows, computed once more.
  package func repeatHeadGradients(_ pass: Pass, rows: Range<Int>, body: (Range<Int>, LinearGradient) -> Void) {
    head.language?.repeatGradients(pass.matrix(headInput, columns: width), rows: rows, in: pass, body: body)
  }

  /// Returns the gradient at the output of the embeddings, `[R,d]`; of no meaning where they aren't trained.
  ///
  /// - Parameter lastBlockIsThere: whether shared activations are still the last block's, as the forward pass left them.
  private func blocksBackward(
    _ headInputGradient: Matrix, _ pass: Pass, lastBlockIsThere: Bool, into sink: any GradientSink
  ) -> Matrix {
    guard let firstGradient, let lowest = lowestTrainedStage else { return headInputGradient }
    var gradient = pass.matrix(firstGradient, columns: width)
    if let finalNorm {
      RowKernels.fill(gradient.elements, with: 0)
      finalNorm.backward(outputGradient: headInputGradient, residualIn: gradient, residualOut: gradient, in: pass)
    } else if gradient.base != headInputGradient.base {
      _ = gradient.elements.update(fromContentsOf: headInputGradient.elements)
    }
    for l in blocks.indices.reversed() where l + 1 >= lowest {
      if !blockInputs.isEmpty && !(lastBlockIsThere && l == blocks.count - 1) { recompute(l, pass) }
      for (index, layer) in blocks[l].enumerated().reversed() {
        gradient = layer.backward(gradient, goesOn: l + 1 > lowest || index > 0, in: pass, into: sink)
      }
    }
    return gradient
  }

  /// Makes a block's activations from its input, as the forward pass did. The stream between the block's layers is made where the inner
  /// layer's gradient will be.
  private func recompute(_ block: Int, _ pass: Pass) {
    let stream = pass.matrix(wide, columns: width)
    _ = stream.elements.update(fromContentsOf: pass.matrix(blockInputs[block], columns: width).elements)
    for (index, layer) in blocks[block].enumerated() {
      layer.forward(stream, needsResult: index + 1 < blocks[block].count, in: pass)
    }
  }
}

/// A model's pass over one microbatch, for a sink that needs some of it once more.
package struct RepeatedPass: GradientSource {
  private let model: Model
  private let pass: Pass

  package init(_ model: Model, _ pass: Pass) {
    self.model = model
    self.pass = pass
  }

  package func repeatBlockGradients(into sink: any GradientSink) { model.repeatBlockGradients(pass, into: sink) }

  package func repeatHeadGradients(rows: Range<Int>, _ body: (Range<Int>, LinearGradient) -> Void) {
    model.repeatHeadGradients(pass, rows: rows, body: body)
  }
}
