/// Models with some of a model's blocks and ids, whose times put together are the model's: its blocks are alike, and what an id costs, in the head and
/// in the tables, is the same for each.
package struct ReducedModels {
  /// The smallest first: as few blocks and ids as are timed; where there are more in the model, one with more blocks, and one with more ids.
  package let models: [ModelConfiguration]
  private let model: ModelConfiguration

  /// Blocks up to which a model is timed as a whole, and ids.
  private static let blocks = 4
  private static let ids = 8192
  /// Ids of a model whose blocks are timed.
  private static let fewIDs = 1024

  /// - Parameter blocks: of the model with more of them.
  package init(_ model: ModelConfiguration, blocks: Int = ReducedModels.blocks) {
    self.model = model
    let few = model.layers <= blocks ? model.layers : 1
    // A classifier has no logits of ids.
    let all = model.labels != nil || model.vocabularySize <= Self.ids
    let ids = all ? model.vocabularySize : Self.fewIDs
    var models = [model.reduced(layers: few, vocabulary: ids)]
    if few < model.layers { models.append(model.reduced(layers: blocks, vocabulary: ids)) }
    if ids < model.vocabularySize { models.append(model.reduced(layers: few, vocabulary: Self.ids)) }
    self.models = models
  }

  /// The model's seconds.
  ///
  /// - Parameter times: of each of ``models``.
  package func seconds(_ times: [Double]) -> Double {
    precondition(times.count == models.count, "\(times.count) times of \(models.count) models")
    let smallest = models[0]
    return zip(models, times).dropFirst().reduce(times[0]) { sum, timed in
      let (other, seconds) = timed
      // Less time for more work is a disturbance.
      let more = max(0, seconds - times[0])
      let part =
        other.layers > smallest.layers
        ? Double(model.layers - smallest.layers) / Double(other.layers - smallest.layers)
        : Double(model.vocabularySize - smallest.vocabularySize) / Double(other.vocabularySize - smallest.vocabularySize)
      return sum + part * more
    }
  }

  /// For people.
  package var description: String {
    func part(_ size: KeyPath<ModelConfiguration, Int>, _ noun: String) -> String? {
      let sizes = Set(models.map { $0[keyPath: size] }).sorted().map(String.init)
      return sizes == ["\(model[keyPath: size])"] ? nil : "\(sizes.joined(separator: " and ")) of \(model[keyPath: size]) \(noun)"
    }
    let parts = [part(\.layers, "blocks"), part(\.vocabularySize, "ids")].compactMap { $0 }
    return parts.isEmpty ? "the whole model" : "models of " + parts.joined(separator: ", ")
  }
}
