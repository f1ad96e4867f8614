extension ModelConfiguration {
  /// Every parameter tensor with Hugging Face's names and shapes, in canonical order.
  public var parameterLayout: ParameterLayout { ParameterLayout(self) }

  /// Parameters of the model; those of a tied head once.
  public var parameterCount: Int {
    let (d, inner) = (width, innerWidth)
    let attention = d * 3 * d + 3 * d + d * d + d
    let feedForward = d * inner + inner + inner * d + d
    let layerNorm = 2 * d
    let embeddings = (vocabularySize + positions) * d
    let head = tiedEmbeddings ? 0 : vocabularySize * d
    return embeddings + layers * (attention + feedForward + 2 * layerNorm) + layerNorm + head
  }
}

/// The parameter tensors of a model in canonical order: names sorted by their bytes, each row-major, one after the other
/// without padding. An element's place in this order identifies it everywhere: in the slab, in noise, in files.
///
/// Names and shapes are those of Hugging Face's `GPT2LMHeadModel`. The four matrices of a block are stored `[in, out]`
/// (its `Conv1D`), embeddings `[rows, d]`, the head (only where it isn't tied) `[V, d]`.
public struct ParameterLayout: Sendable, RandomAccessCollection {
  public struct Entry: Sendable, Hashable {
    /// Place in the canonical order.
    public let index: Int
    public let name: String
    public let shape: [Int]
    /// Floats before the tensor's first.
    public let offset: Int
    /// Floats in the tensor.
    public let count: Int

    public var range: Range<Int> { offset..<(offset + count) }
  }

  private let entries: [Entry]
  private let placeOfName: [String: Int]
  /// Floats in all tensors.
  public let totalCount: Int

  /// - Parameter shapes: tensors in any order; names are unique.
  public init(shapes: [(name: String, shape: [Int])]) {
    var offset = 0
    let sorted = shapes.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    entries = sorted.enumerated().map { index, tensor in
      let entry = Entry(
        index: index, name: tensor.name, shape: tensor.shape, offset: offset, count: tensor.shape.reduce(1, *))
      offset += entry.count
      return entry
    }
    totalCount = offset
    placeOfName = Dictionary(uniqueKeysWithValues: entries.map { ($0.name, $0.index) })
  }

  public init(_ configuration: ModelConfiguration) {
    let (d, inner, v) = (configuration.width, configuration.innerWidth, configuration.vocabularySize)
    var shapes: [(name: String, shape: [Int])] = [
      ("transformer.wte.weight", [v, d]), ("transformer.wpe.weight", [configuration.positions, d]),
      ("transformer.ln_f.weight", [d]), ("transformer.ln_f.bias", [d]),
    ]
    if !configuration.tiedEmbeddings { shapes.append(("lm_head.weight", [v, d])) }
    for layer in 0..<configuration.layers {
      let block = "transformer.h.\(layer)"
      shapes += [
        ("\(block).ln_1.weight", [d]), ("\(block).ln_1.bias", [d]),
        ("\(block).attn.c_attn.weight", [d, 3 * d]), ("\(block).attn.c_attn.bias", [3 * d]),
        ("\(block).attn.c_proj.weight", [d, d]), ("\(block).attn.c_proj.bias", [d]),
        ("\(block).ln_2.weight", [d]), ("\(block).ln_2.bias", [d]),
        ("\(block).mlp.c_fc.weight", [d, inner]), ("\(block).mlp.c_fc.bias", [inner]),
        ("\(block).mlp.c_proj.weight", [inner, d]), ("\(block).mlp.c_proj.bias", [d]),
      ]
    }
    self.init(shapes: shapes)
  }

  public var startIndex: Int { 0 }
  public var endIndex: Int { entries.count }
  public subscript(position: Int) -> Entry { entries[position] }

  /// Tensors by layer: those whose names differ in the last part alone (bias and weight, gain and bias), which lie one behind the other.
  package var layers: [Range<Int>] {
    let layer = { (entry: Entry) in entry.name.lastIndex(of: ".").map { entry.name[..<$0] } ?? entry.name[...] }
    var layers: [Range<Int>] = []
    for entry in entries {
      if let last = layers.last, layer(entries[last.lowerBound]) == layer(entry) {
        layers[layers.count - 1] = last.lowerBound..<entry.index + 1
      } else {
        layers.append(entry.index..<entry.index + 1)
      }
    }
    return layers
  }

  /// The tensor of that name, or nil.
  public func entry(named name: String) -> Entry? { placeOfName[name].map { entries[$0] } }

  /// The tensor of that name, which is known to exist.
  public subscript(name: String) -> Entry {
    guard let entry = entry(named: name) else { preconditionFailure("no parameter \(name)") }
    return entry
  }
}
