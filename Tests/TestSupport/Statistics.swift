import Foundation

/// Tests of samples against distributions. Each gives a standardised figure: the caller states the bound and its false-alarm rate.
public enum Statistics {
  public static func mean(_ x: [Double]) -> Double { x.reduce(0, +) / Double(x.count) }

  /// The `order`-th moment about 0.
  public static func moment(_ order: Int, _ x: [Double]) -> Double {
    x.reduce(0) { $0 + pow($1, Double(order)) } / Double(x.count)
  }

  /// How many standard deviations the first four moments of `x` are from a standard normal's: the k-th power's mean is 0, 1, 0, 3,
  /// its variance over n 1, 2, 15, 96.
  public static func standardNormalDeviations(_ x: [Double]) -> [Double] {
    zip(1...4, zip([0.0, 1, 0, 3], [1.0, 2, 15, 96])).map { order, expected in
      (moment(order, x) - expected.0) / (expected.1 / Double(x.count)).squareRoot()
    }
  }

  /// How many standard deviations the correlation of independent samples is from 0 (n large).
  public static func correlationDeviations(_ x: some Collection<Double>, _ y: some Collection<Double>) -> Double {
    precondition(x.count == y.count)
    let sums = zip(x, y).reduce((xy: 0.0, xx: 0.0, yy: 0.0)) {
      ($0.xy + $1.0 * $1.1, $0.xx + $1.0 * $1.0, $0.yy + $1.1 * $1.1)
    }
    return sums.xy / (sums.xx * sums.yy).squareRoot() * Double(x.count).squareRoot()
  }

  /// Kolmogorov's √n · sup |F̂ - F|; beyond x with probability about 2·exp(-2x²): 2.7 has 1e-6.
  public static func kolmogorovSmirnov(_ x: [Double], _ distribution: (Double) -> Double) -> Double {
    let n = Double(x.count)
    let largest = x.sorted().enumerated().reduce(0.0) { largest, sample in
      let expected = distribution(sample.element)
      return max(largest, abs(expected - Double(sample.offset) / n), abs(Double(sample.offset + 1) / n - expected))
    }
    return largest * n.squareRoot()
  }

  public static func standardNormalDistribution(_ x: Double) -> Double { 0.5 * erfc(-x / 2.0.squareRoot()) }

  /// Pearson's statistic of counts that should be equal, as standard deviations from its mean (k - 1, variance 2(k - 1)).
  public static func equalCountsDeviations(_ counts: [Int]) -> Double {
    let expected = Double(counts.reduce(0, +)) / Double(counts.count)
    let statistic = counts.reduce(0) { $0 + (Double($1) - expected) * (Double($1) - expected) / expected }
    let freedom = Double(counts.count - 1)
    return (statistic - freedom) / (2 * freedom).squareRoot()
  }
}
