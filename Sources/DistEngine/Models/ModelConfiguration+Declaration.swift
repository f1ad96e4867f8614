extension ModelConfiguration {
  /// What the model is made of, for a microbatch and a policy: parameters, buffers, layers.
  ///
  /// - Parameter stored: what may stay in files.
  package func declare(
    capacity: Microbatch.Capacity, policy: PassPolicy, stored: StoredTensors = StoredTensors()
  ) -> (declaration: ModelDeclaration, model: Model) {
    // The first time for what is trained: how far the backward pass goes decides what is kept.
    let trained = declare(capacity: capacity, policy: policy, lowestTrainedStage: 0).declaration.parameters.filter(\.isTrained)
    return declare(capacity: capacity, policy: policy, stored: stored, lowestTrainedStage: trained.map(\.stage).min())
  }

  private func declare(
    capacity: Microbatch.Capacity, policy: PassPolicy, stored: StoredTensors = StoredTensors(), lowestTrainedStage: Int?
  ) -> (declaration: ModelDeclaration, model: Model) {
    var declaration = ModelDeclaration(
      blocks: layers, capacity: capacity, policy: policy, adapters: adapters, stored: stored, lowestTrainedStage: lowestTrainedStage)
    let model = family.declare(self, in: &declaration)
    return (declaration, model)
  }

  /// A declaration to know parameters and shapes by.
  private func declaration(
    _ trainable: TrainableParameters, stored: StoredTensors = StoredTensors(), trains: Bool = true
  ) -> ModelDeclaration {
    var policy = PassPolicy.parametersAlone
    policy.trainable = trainable
    policy.retention = trains ? .backward : .inference
    return declare(capacity: Microbatch.Capacity(units: 1, rows: 1, positions: 1), policy: policy, stored: stored, lowestTrainedStage: nil).declaration
  }

  /// The model's tensors, trained and frozen.
  ///
  /// - Parameters:
  ///   - stored: what may stay in files.
  ///   - trains: false: passes alone, in which that may stay there, too, which would be trained.
  package func parameterTable(
    trainable: TrainableParameters = .all, stored: StoredTensors = StoredTensors(), trains: Bool = true
  ) -> ParameterTable { declaration(trainable, stored: stored, trains: trains).table }

  /// Every parameter tensor with Hugging Face's names and shapes, in canonical order.
  public var parameterLayout: ParameterLayout { declaration(.all).table.whole }

  /// Parameters of the model; those of a tied head once.
  public var parameterCount: Int { parameterLayout.totalCount }

  /// The different shapes of the blocks' linear layers, and the head's.
  package var blockShapes: [LinearShape] { trainingDeclaration.blockShapes }
  package var headShapes: [LinearShape] { trainingDeclaration.headShapes }

  /// The blocks' trained linear layers, each, and elements of all linear layers' matrices.
  package func linearLayers(trainable: TrainableParameters) -> (trainedInBlocks: [LinearShape], elements: Int) {
    let declaration = declaration(trainable)
    return (declaration.trainedBlockLayers, declaration.matrixElements)
  }

  /// Labels of the classifier; of a model without, as many as `transformers` gives one that nothing is said of.
  package var labelCount: Int { labels?.count ?? 2 }

  /// Whether a language head shares the token table.
  var tiesHead: Bool { tiedEmbeddings && labels == nil }

  /// A decoder's head: the next token's logits, or a classifier of the last position (`score`, as in `GPT2ForSequenceClassification`).
  func decoderHead(_ name: String, table: ParameterID, in d: inout ModelDeclaration) -> Head {
    let fresh = FreshValues.normal(deviation: initializerRange)
    if labels != nil {
      return .classifier(
        ClassifierHead(
          dense: nil, output: "score", hasBias: false, pooling: .last(padding: padTokenID), width: width, labels: labelCount, fresh: fresh,
          in: &d))
    }
    return .language(
      LanguageHead(name, tiedTo: tiedEmbeddings ? table : nil, vocabulary: vocabularySize, width: width, fresh: fresh, in: &d))
  }

  private var trainingDeclaration: ModelDeclaration {
    var policy = PassPolicy.parametersAlone
    policy.retention = .backward
    return declare(capacity: Microbatch.Capacity(units: 1, rows: 1, positions: 1), policy: policy, lowestTrainedStage: 0).declaration
  }

  /// Flops of the model's own matrix products for one record, forward and backward, whatever the mode adds: 6 a target and
  /// element of a trained matrix and 4 of a frozen one, and the visible half of attention's two products forward and four backward.
  package func trainingFlops(targets: Int, trainable: TrainableParameters = .all) -> Double {
    var policy = PassPolicy.parametersAlone
    (policy.retention, policy.trainable) = (.backward, trainable)
    let declaration = declare(capacity: Microbatch.Capacity(units: 1, rows: 1, positions: 1), policy: policy).declaration
    let attention = Double(layers * heads * headWidth) * Double(targets) * 6
    return Double(targets) * (Double(declaration.flopsPerRow) + attention)
  }
}
