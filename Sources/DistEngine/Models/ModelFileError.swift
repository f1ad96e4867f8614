/// Why a directory's parameters are refused.
public enum ModelFileError: UserError, Equatable {
  /// - Parameter others: files that may hold them in another form.
  case noWeights(directory: String, others: [String])
  case malformedIndex(path: String, reason: String)
  case missing(directory: String, tensor: String, shape: [Int], others: Int)
  case misshapen(path: String, tensor: String, found: [Int], expected: [Int])
  case unknown(path: String, tensor: String, shape: [Int], others: Int)
  case storedTwice(path: String, tensor: String)
  case tiedHeadDiffers(path: String, tensor: String)
  case notFinite(path: String, tensor: String)

  public var description: String {
    switch self {
    case .noWeights(let directory, let others):
      "\(directory): holds no model.safetensors"
        + (others.isEmpty
          ? ""
          : " but \(others.prefix(3).joined(separator: ", ")), which is not read here: save_pretrained of transformers writes safetensors")
    case .malformedIndex(let path, let reason): "\(path): \(reason)"
    case .missing(let directory, let tensor, let shape, let others):
      "\(directory): tensor \(tensor.quotable) \(shape.quotable) is missing\(Self.and(others))"
    case .misshapen(let path, let tensor, let found, let expected):
      "\(path): tensor \(tensor.quotable) has shape \(found.quotable): config.json makes it \(expected)"
    case .unknown(let path, let tensor, let shape, let others):
      "\(path): tensor \(tensor.quotable) \(shape.quotable) is no part of the model that config.json describes\(Self.and(others))"
    case .storedTwice(let path, let tensor): "\(path): tensor \(tensor.quotable) is stored twice"
    case .tiedHeadDiffers(let path, let tensor):
      "\(path): tensor \(tensor.quotable) differs from the token embedding that config.json ties it to"
    case .notFinite(let path, let tensor): "\(path): tensor \(tensor.quotable) has values that are not finite"
    }
  }

  private static func and(_ others: Int) -> String {
    others == 0 ? "" : ", and so \(others == 1 ? "is 1 other" : "are \(others) others")"
  }
}
