import DistEngine
import Testing

@Suite struct RecordHashesTests {
  private func hashes(_ texts: String...) -> RecordHashes { RecordHashes(RecordStore(texts)) }

  @Test func setsAreApartWhereNoRecordIsInBoth() {
    let own = hashes("one", "two", "three")
    #expect(own.sharesRecord(with: own))
    #expect(own.sharesRecord(with: hashes("four", "three")) && hashes("four", "three").sharesRecord(with: own))
    #expect(!own.sharesRecord(with: hashes("four", "five", "one ")) && !hashes("four", "five").sharesRecord(with: own))
    #expect(!hashes("").sharesRecord(with: hashes("")), "a record without a byte is nobody's")
    #expect(!own.sharesRecord(with: hashes()))
  }

  /// Every place in a large set is looked at.
  @Test func oneRecordOfManyIsFound() {
    let many = (0..<1000).map { "record \($0)" }
    let set = RecordHashes(RecordStore(many))
    for record in many { #expect(hashes(record, "another").sharesRecord(with: set), "\(record)") }
    #expect(!RecordHashes(RecordStore(many.map { $0 + "." })).sharesRecord(with: set))
  }

  @Test func orderAndRepetitionChangeNothing() {
    let own = hashes("one", "two", "three")
    #expect(own == hashes("three", "one", "", "two", "one") && own.fingerprint == hashes("two", "three", "one").fingerprint)
    #expect(own.fingerprint != hashes("one", "two").fingerprint)
  }

  /// SHA-256("abc") begins ba7816bf8f01cfea (FIPS 180-4's example).
  @Test func aFileHoldsThemLittleEndian() {
    #expect(hashes("abc").bytes == [0xea, 0xcf, 0x01, 0x8f, 0xbf, 0x16, 0x78, 0xba])
  }

  @Test func whatIsNotWholeIsNotRead() {
    let own = hashes("one", "two", "three")
    #expect(RecordHashes(bytes: own.bytes, fingerprint: own.fingerprint) == own)
    for damaged in [Array(own.bytes.dropLast(8)), Array(own.bytes.dropLast()), own.bytes + own.bytes, []] {
      #expect(RecordHashes(bytes: damaged, fingerprint: own.fingerprint) == nil)
    }
  }
}
