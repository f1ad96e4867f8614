import DistEngine
import Testing

@Suite("Keys")
struct KeyTests {
  private func bytes(_ key: RandomKey) -> [UInt8] { key.withUnsafeBytes { Array($0) } }

  @Test func theOperatingSystemsKeysAreAllDifferent() {
    let keys = (0..<100).map { _ in bytes(RandomKey()) }
    #expect(Set(keys).count == 100)
    #expect(keys.allSatisfy { $0.count == 32 })
    #expect(!RandomKey().isReproducible)
    // No byte stays what it is: 32 places, each equal in all of 100 keys with probability 256^-99.
    for place in 0..<32 { #expect(Set(keys.map { $0[place] }).count > 1) }
  }

  /// Of 400 000 keys from 32 bits two are equal but for a chance of e^-18.6; of keys from 64 bits, once in 230 million runs.
  @Test func keysHaveFarMoreThan32Bits() {
    var seen: Set<SIMD4<UInt64>> = []
    let count = 400_000
    seen.reserveCapacity(count)
    for _ in 0..<count { RandomKey().withUnsafeBytes { _ = seen.insert($0.loadUnaligned(as: SIMD4<UInt64>.self)) } }
    #expect(seen.count == count)
  }

  @Test func aSeedGivesTheSameKeyAndSaysSo() {
    #expect(bytes(RandomKey(seed: 7)) == bytes(RandomKey(seed: 7)))
    #expect(bytes(RandomKey(seed: 7)) != bytes(RandomKey(seed: 8)))
    #expect(RandomKey(seed: 7).isReproducible)
    // HKDF-SHA256, computed by another implementation.
    let hex = bytes(RandomKey(seed: 42)).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    #expect(hex == "75e44fd8f623275561e6e2c702ed90710bb4d6bae0b68029eeda01bc5ab06664")
  }

  @Test func theBroadcastKeyIsTheSameKey() {
    let key = RandomKey()
    let copy = key.withUnsafeBytes { RandomKey(bytes: $0, isReproducible: key.isReproducible) }
    #expect(bytes(copy) == bytes(key))
    #expect(!copy.isReproducible)
  }

  /// Key 00 01 … 1f, stream 3, block 5, computed by other implementations of HKDF and AES. A change here breaks every resumed
  /// reproduction.
  @Test(
    arguments: [
      (RandomPurpose.sampling, 0x0ae9_dee1_b049_9c97, 0x4821_98e5_dfe5_074a),
      (.noise, 0x3a8c_6275_6cda_16fc, 0x61af_b3a3_b4dc_056e),
      (.initialisation, 0x2881_c910_930f_e7de, 0x2d37_4039_5927_e8d7),
      (.dropout, 0xf240_e036_df01_2c20, 0x7396_7709_1e7e_1afa),
      (.shuffle, 0xc95a_01ff_58ed_9430, 0x2bcd_6536_4c87_58d0),
      (.generation, 0x57fd_1f5a_1236_8f24, 0xc28d_c88b_7d09_d8a6),
    ] as [(RandomPurpose, UInt64, UInt64)])
  func everyPurposeHasItsOwnStream(purpose: RandomPurpose, first: UInt64, second: UInt64) {
    let key = (0..<32).map { UInt8($0) }.withUnsafeBytes { RandomKey(bytes: $0, isReproducible: true) }
    #expect(CounterRandom(key.subKey(for: purpose)).words(stream: 3, from: 10, count: 2) == [first, second])
  }

  @Test func keysCannotBePrinted() {
    let key = RandomKey(seed: 1), subKey = key.subKey(for: .noise)
    var dumped = ""
    dump([key], to: &dumped)
    dump([subKey], to: &dumped)
    let texts = ["\(key)", "\(subKey)", String(reflecting: key), String(reflecting: [subKey]), String(describing: [key]), dumped]
    for text in texts {
      #expect(text.contains("redacted"))
      #expect(!text.contains("SymmetricKey") && !text.contains("SecureBytes"))
    }
    #expect(Mirror(reflecting: key).children.isEmpty && Mirror(reflecting: subKey).children.isEmpty)
    #expect(!((key as Any) is any Encodable) && !((subKey as Any) is any Encodable))
  }

  /// What holds a key doesn't give it away either.
  @Test func generatorsCannotBePrinted() {
    let subKey = RandomKey(seed: 1).subKey(for: .noise)
    var dumped = ""
    dump(CounterRandom(subKey), to: &dumped)
    dump(GaussianSource(subKey), to: &dumped)
    dump(RandomStream(CounterRandom(subKey), stream: 0), to: &dumped)
    #expect(!dumped.contains("SymmetricKey") && !dumped.contains("SecureBytes"))
    #expect(!"\(CounterRandom(subKey)) \(GaussianSource(subKey))".contains("SymmetricKey"))
  }
}
