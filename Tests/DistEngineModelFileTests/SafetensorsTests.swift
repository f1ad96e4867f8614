import DistEngine
import Foundation
import TestSupport
import Testing

@Suite struct SafetensorsTests {
  let directory: TemporaryDirectory
  private var path: String { "\(directory.path)/a.safetensors" }

  init() throws { directory = try TemporaryDirectory() }

  /// A file of that header and data, whatever they say.
  private func file(_ header: String, data: [UInt8] = [], length: UInt64? = nil) throws -> String {
    let lengthBytes = withUnsafeBytes(of: (length ?? UInt64(header.utf8.count)).littleEndian) { Array($0) }
    return try directory.file("a.safetensors", lengthBytes + Array(header.utf8) + data)
  }

  private func refusal(_ header: String, data: [UInt8] = [], length: UInt64? = nil) throws -> String {
    let path = try file(header, data: data, length: length)
    let error = try #require(throws: SafetensorsError.self) { try SafetensorsFile(path: path) }
    #expect(!error.description.contains("\n"))
    return error.description.replacing("\(directory.path)/", with: "")
  }

  // MARK: Writing and reading back

  /// What the values were read from may have changed on the way.
  @Test func whatIsNotWhatItWasGetsNoName() throws {
    var values: [Float] = [1, 2]
    try values.withUnsafeMutableBufferPointer { values in
      let tensor = Safetensors.Source(name: "t", shape: [2], values: UnsafeBufferPointer(values))
      #expect(throws: SafetensorsError.self) {
        try Safetensors.write([tensor], to: path) { throw SafetensorsError.unsupportedElementType(path: path, tensor: "t", elementType: "I8") }
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty)
      try Safetensors.write([tensor], to: path) {}
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["a.safetensors"])
    }
  }

  @Test func tensorsComeBackAsTheyWere() throws {
    var tensors = Tensors()
    for count in [0, 1, 15, 16, 17, 1003, 262_143, 262_145, 600_001] { tensors.add("t\(count)", [count]) }
    tensors.add("scalar", [])
    tensors.add("none", [3, 0, 2])
    tensors.add("box", [2, 3, 5])
    tensors.add("odd \"name\"\\ é\u{1}/", [2])
    tensors.add("special", [5], [.nan, .infinity, -0.0, .leastNonzeroMagnitude, .greatestFiniteMagnitude])
    try tensors.write(to: path)
    let file = try SafetensorsFile(path: path)
    #expect(file.tensors.count == tensors.all.count)
    #expect(file.metadata == ["format": "pt"])
    for tensor in tensors.all {
      #expect(file.tensor(named: tensor.name)?.shape == tensor.shape)
      #expect(file.tensor(named: tensor.name)?.elementType == "F32")
      #expect(try read(tensor.name, from: file).map(\.bitPattern) == tensor.values.map(\.bitPattern), "\(tensor.name)")
    }
  }

  @Test func equalTensorsGiveEqualBytes() throws {
    var tensors = Tensors()
    tensors.add("b", [3])
    tensors.add("a", [2, 2])
    try tensors.write(to: path, metadata: ["z": "1", "a": "2"])
    let first = try Fixtures.bytes(path)
    var reversed = Tensors()
    for tensor in tensors.all.reversed() { reversed.add(tensor.name, tensor.shape, tensor.values) }
    try reversed.write(to: path, metadata: ["a": "2", "z": "1"])
    #expect(try Fixtures.bytes(path) == first)
    let length = Int(first[0]) + 256 * Int(first[1])
    #expect(length.isMultiple(of: 8))
    #expect(
      String(decoding: first[8..<(8 + length)], as: UTF8.self).trimmingCharacters(in: .whitespaces)
        == #"{"__metadata__":{"a":"2","z":"1"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"#
        + #""b":{"dtype":"F32","shape":[3],"data_offsets":[16,28]}}"#
    )
  }

  @Test func aFileWithoutTensorsIsFine() throws {
    try Tensors().write(to: path, metadata: [:])
    #expect(try SafetensorsFile(path: path).tensors.isEmpty)
    #expect(try SafetensorsFile(path: file("{}")).tensors.isEmpty)
  }

  // MARK: Element types

  @Test func halvesBrainHalvesAndDoublesBecomeFloats() throws {
    let values: [Float] = [0, -0.0, 1, -2.5, 65504, 0x1p-24, .infinity, -.infinity, 0x1.ff8p-15]
    let halves = values.flatMap { withUnsafeBytes(of: Float16($0).bitPattern.littleEndian) { Array($0) } }
    let brains = values.flatMap { value in withUnsafeBytes(of: UInt16(value.bitPattern >> 16).littleEndian) { Array($0) } }
    let doubles = (values.map(Double.init) + [0.1, 1e300]).flatMap { value in
      withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) }
    }
    let (h, b, d) = (halves.count, halves.count + brains.count, halves.count + brains.count + doubles.count)
    let file = try SafetensorsFile(
      path: file(
        """
        {"h":{"dtype":"F16","shape":[9],"data_offsets":[0,\(h)]},"b":{"dtype":"BF16","shape":[3,3],"data_offsets":[\(h),\(b)]},
         "d":{"dtype":"F64","shape":[11],"data_offsets":[\(b),\(d)]}}
        """, data: halves + brains + doubles))
    #expect(try read("h", from: file).map(\.bitPattern) == values.map(\.bitPattern))
    #expect(try read("b", from: file).map(\.bitPattern) == values.map { $0.bitPattern & 0xFFFF_0000 })
    #expect(try read("d", from: file) == values + [0.1, .infinity])
  }

  @Test func otherElementTypesAreNamedWhenReadAsFloats() throws {
    let file = try SafetensorsFile(
      path: file(#"{"t":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#, data: [UInt8](repeating: 0, count: 8)))
    let error = try #require(throws: SafetensorsError.self) { try read("t", from: file) }
    #expect(error == .unsupportedElementType(path: path, tensor: "t", elementType: "I64"))
    #expect(error.description == "\(path): tensor t is stored as I64: must be F32, F16, BF16 or F64")
  }

  // MARK: Bad files

  /// Cut anywhere, a file is refused: never read as something else, never a crash.
  @Test func aTruncatedFileIsRefusedWhereverItIsCut() throws {
    var tensors = Tensors()
    tensors.add("a", [5])
    tensors.add("b", [2, 3])
    tensors.add("empty", [0])
    tensors.add("c", [1])
    try tensors.write(to: path)
    let whole = try Fixtures.bytes(path)
    for length in 0..<whole.count {
      let cut = try directory.file("cut.safetensors", whole[..<length])
      let error = try #require(throws: SafetensorsError.self, "cut to \(length) bytes") { try SafetensorsFile(path: cut) }
      #expect(error.description.hasPrefix("\(cut): "))
    }
    let longer = try directory.file("longer.safetensors", whole + [0])
    #expect(throws: SafetensorsError.unclaimedBytes(path: longer, count: 1)) { try SafetensorsFile(path: longer) }
  }

  @Test func theFixtureIsRefusedCutAtEveryTensor() throws {
    let source = "\(Fixtures.tiny)/model.safetensors"
    let whole = try Fixtures.bytes(source)
    let file = try SafetensorsFile(path: source)
    let start = whole.count - file.tensors.last!.byteRange.upperBound
    for tensor in file.tensors {
      for length in [start + tensor.byteRange.upperBound - 1, start + tensor.byteRange.lowerBound] {
        let cut = try directory.file("cut.safetensors", whole[..<length])
        #expect(
          throws: SafetensorsError.truncatedData(
            path: cut, tensor: tensor.name, end: tensor.byteRange.upperBound, dataBytes: length - start)
        ) { try SafetensorsFile(path: cut) }
      }
    }
  }

  /// A byte changed anywhere in the header gives an error or another well-formed header, never a crash.
  @Test func aDamagedHeaderNeverCrashes() throws {
    var tensors = Tensors()
    tensors.add("ab", [3])
    tensors.add("c", [2, 1])
    try tensors.write(to: path)
    let whole = try Fixtures.bytes(path)
    for place in 0..<(whole.count - 20) {
      for value: UInt8 in [0, 0x20, 0x22, 0x2D, 0x30, 0x39, 0x5B, 0x7D, 0x80, 0xFF] where value != whole[place] {
        var damaged = whole
        damaged[place] = value
        let damagedPath = try directory.file("damaged.safetensors", damaged)
        do {
          let file = try SafetensorsFile(path: damagedPath)
          #expect(file.tensors.map(\.byteRange.count).reduce(0, +) == 20)
        } catch let error as SafetensorsError {
          #expect(!error.description.contains("\n"))
        }
      }
    }
  }

  @Test func malformedHeadersAreNamed() throws {
    #expect(
      try refusal("{}", length: 3) == "a.safetensors: not a whole safetensors file: 10 bytes where the header alone needs 11")
    #expect(
      try refusal("{}", length: 100_000_001)
        == "a.safetensors: not a safetensors file: a header of 100000001 bytes (at most 100000000)")
    #expect(try refusal("{}", length: .max).hasPrefix("a.safetensors: not a safetensors file: a header of 18446744073709551615"))
    #expect(try refusal("[]") == "a.safetensors: not a safetensors file: its header does not start with {")
    #expect(try refusal("").hasSuffix("its header does not start with {"))
    #expect(
      try refusal("{").hasPrefix(
        "a.safetensors: not a safetensors file: its header is malformed at byte 9 of the file: the text ends here: "))
    #expect(try refusal(#"{"t":{"dtype":"F32","shape":[1]}}"#).contains("malformed: t.data_offsets: "))
    #expect(try refusal(#"{"t":{"dtype":"F32","shape":"1","data_offsets":[0,4]}}"#).contains("malformed: t.shape: "))
    #expect(try refusal(#"{"__metadata__":{"a":1}}"#).contains("malformed: __metadata__.a: "))
  }

  @Test func metadataThatIsNullIsNone() throws {
    #expect(try SafetensorsFile(path: file(#"{"__metadata__":null}"#)).metadata.isEmpty)
  }

  @Test func aPointerOfGitLFSIsNamed() throws {
    let pointer = try directory.file("a.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    let error = try #require(throws: SafetensorsError.self) { try SafetensorsFile(path: pointer) }
    #expect(error.description.hasSuffix("a Git LFS pointer, not the file itself: git lfs pull fetches it"))
  }

  @Test func malformedTensorsAreNamed() throws {
    func refusal(_ tensors: String, bytes: Int = 8) throws -> String {
      try self.refusal("{\(tensors)}", data: [UInt8](repeating: 0, count: bytes)).replacing("a.safetensors: ", with: "")
    }
    func tensor(_ name: String, _ begin: Int, _ end: Int, type: String = "F32", shape: String) -> String {
      #""\#(name)":{"dtype":"\#(type)","shape":[\#(shape)],"data_offsets":[\#(begin),\#(end)]}"#
    }
    #expect(try refusal(tensor("t", 0, 8, shape: "1")) == "tensor t: 8 bytes where F32 [1] needs 4")
    #expect(try refusal(tensor("t", 0, 8, type: "F7", shape: "1")) == "tensor t: unknown element type F7")
    #expect(try refusal(tensor("t", 8, 0, shape: "1")) == "tensor t: data_offsets [8, 0] are not a range")
    #expect(try refusal(tensor("t", -8, 0, shape: "2")) == "tensor t: data_offsets [-8, 0] are not a range")
    #expect(try refusal(tensor("t", 0, 8, shape: "-2")) == "tensor t: impossible shape [-2]")
    #expect(
      try refusal(tensor("t", 0, 8, shape: "4611686018427387904,4")) == "tensor t: impossible shape [4611686018427387904, 4]")
    #expect(
      try refusal(tensor("a", 0, 8, shape: "2") + "," + tensor("b", 4, 8, shape: "1"))
        == "tensor b: begins at byte 4 and overlaps the tensor before it, which ends at byte 8")
    #expect(
      try refusal(tensor("a", 0, 4, shape: "1") + "," + tensor("b", 8, 12, shape: "1"), bytes: 12)
        == "tensor b: begins at byte 8 and leaves a gap after byte 4")
    #expect(try refusal(tensor("a", 4, 8, shape: "1")) == "tensor a: begins at byte 4 and leaves a gap after byte 0")
    #expect(try refusal(tensor("a", 0, 4, shape: "1")) == "4 bytes after the last tensor belong to none")
    #expect(try refusal(tensor("a", 0, 12, shape: "3")) == "truncated: tensor a ends at byte 12 of the data, which has 8")
    #expect(
      try refusal(tensor("a", 0, 4, shape: "1") + "," + tensor("a", 4, 8, shape: "1"))
        == #"not a safetensors file: its header is malformed at byte 62 of the file: the key "a" stands here a second time"#)
  }

  @Test func filesThatCannotBeOpenedAreNamed() throws {
    #expect(throws: FileError(path: path, action: "read", code: ENOENT)) { try SafetensorsFile(path: path) }
    #expect(throws: FileError(path: directory.path, action: "read", code: EISDIR)) { try SafetensorsFile(path: directory.path) }
  }
}
