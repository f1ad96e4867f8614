import DistEngine
import Foundation

// speed TOKENIZER TEXT [SECONDS]: tokens a second of one thread, a line of the text a record.
// compare TOKENIZER REFERENCE.jsonl: ids, ids with special tokens, pairs, prefixes and decoded text against those of a reference.

let arguments = Array(CommandLine.arguments.dropFirst())
do {
  switch arguments.first {
  case "speed" where arguments.count >= 3:
    try speed(tokenizer: arguments[1], text: arguments[2], seconds: arguments.count > 3 ? Double(arguments[3]) ?? 5 : 5)
  case "compare" where arguments.count == 3:
    exit(try compare(tokenizer: arguments[1], reference: arguments[2]) == 0 ? 0 : 1)
  default:
    print("usage: tokenizer-benchmarks speed TOKENIZER TEXT [SECONDS] | compare TOKENIZER REFERENCE.jsonl")
    exit(64)
  }
} catch {
  print("Error: \(error)")
  exit(1)
}

func speed(tokenizer name: String, text: String, seconds: Double) throws {
  let began = processorSeconds()
  let tokenizer = try TokenizerKind(rawValue: name).make()
  let loading = processorSeconds() - began
  let lines = try Data(contentsOf: URL(filePath: text)).split(separator: UInt8(ascii: "\n")).map { Array($0) }
  var ids: [Int32] = []
  // Once before, as words that were met are known from then on.
  let first = encode(lines, tokenizer, &ids)
  let count = ids.count
  var times: [Double] = []
  while times.reduce(0, +) < seconds || times.count < 3 { times.append(encode(lines, tokenizer, &ids)) }
  let median = times.sorted()[times.count / 2]
  func rate(_ time: Double) -> String { String(format: "%.2f M/s", Double(count) / time / 1e6) }
  let bytes = lines.reduce(0) { $0 + $1.count }
  print("\(count) tokens of \(bytes) bytes: \(rate(first)) at first, \(rate(median)) then; read in \(String(format: "%.2f s", loading))")
}

/// Of this thread: what others do on the machine doesn't count.
func processorSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Double(time.tv_sec) + 1e-9 * Double(time.tv_nsec)
}

/// - Returns: seconds.
func encode(_ lines: [[UInt8]], _ tokenizer: some Tokenizer, _ ids: inout [Int32]) -> Double {
  let began = processorSeconds()
  ids.removeAll(keepingCapacity: true)
  for line in lines { tokenizer.encode(line[...], limit: .max, into: &ids) }
  return processorSeconds() - began
}

struct Reference: Decodable {
  let text: String
  let ids: [Int32]
  let withSpecial: [Int32]
  let decoded: String
  let second: String?
  let pair: [Int32]?
  let pairTypes: [Int32]?
}

/// - Returns: mismatches.
func compare(tokenizer name: String, reference path: String) throws -> Int {
  let tokenizer = try TokenizerKind(rawValue: name).make()
  let decoder = JSONDecoder()
  decoder.keyDecodingStrategy = .convertFromSnakeCase
  var counts: [String: Int] = [:]
  var texts = 0
  for line in try Data(contentsOf: URL(filePath: path)).split(separator: UInt8(ascii: "\n")) {
    let expected = try decoder.decode(Reference.self, from: line)
    texts += 1
    for (what, got, wanted) in outcomes(tokenizer, expected) where got != wanted {
      counts[what, default: 0] += 1
      guard counts[what, default: 0] <= 3 else { continue }
      print("\(what) of \(expected.text.debugDescription.prefix(200)): \(got.prefix(200)), expected \(wanted.prefix(200))")
    }
  }
  let sum = counts.values.reduce(0, +)
  print("\(name): \(texts) texts, \(sum) mismatches \(sum == 0 ? "" : "\(counts)")")
  return sum
}

func outcomes(_ tokenizer: some Tokenizer, _ expected: Reference) -> [(String, String, String)] {
  let text = Array(expected.text.utf8)[...]
  var ids: [Int32] = []
  tokenizer.encode(text, limit: .max, into: &ids)
  var (special, types): ([Int32], [Int32]) = ([], [])
  _ = tokenizer.encodeWithSpecialTokens(text, nil, limit: .max, ids: &special, types: &types)
  let limit = ids.count / 2
  var prefix: [Int32] = []
  tokenizer.encode(text, limit: limit, into: &prefix)
  var found = [
    ("ids", "\(ids)", "\(expected.ids)"), ("with_special", "\(special)", "\(expected.withSpecial)"),
    ("prefix", "\(prefix.prefix(limit))", "\(expected.ids.prefix(limit))"),
    ("count", "\(tokenizer.count(of: text))", "\(expected.ids.count)"),
    // By scalars: strings that differ in how characters are composed are equal.
    (
      "decoded", "\(String(decoding: tokenizer.decode(expected.ids), as: UTF8.self).unicodeScalars.map(\.value))",
      "\(expected.decoded.unicodeScalars.map(\.value))"
    ),
  ]
  if let second = expected.second, let pair = expected.pair, let pairTypes = expected.pairTypes {
    var (ids, types): ([Int32], [Int32]) = ([], [])
    _ = tokenizer.encodeWithSpecialTokens(text, Array(second.utf8)[...], limit: .max, ids: &ids, types: &types)
    found += [("pair", "\(ids)", "\(pair)"), ("types", "\(types)", "\(pairTypes)")]
  }
  return found
}
