import Foundation

/// A line on standard error that shows how far a run is, written over itself.
public struct ProgressBar: Sendable {
  private let steps: Int
  private let start = ContinuousClock.now
  private var lastDrawn: ContinuousClock.Instant?
  private var tokens = 0
  private var loss: Double?
  private var epsilon: Double?

  /// Whether a person is likely to look: launchers give rank 0 a pseudo-terminal, so a terminal is no sign of one.
  public static func isWanted(in environment: [String: String]) -> Bool {
    guard environment["CI"] == nil, let terminal = environment["TERM"] else { return false }
    return terminal != "dumb" && !terminal.isEmpty
  }

  public init(steps: Int) { self.steps = steps }

  /// Redraws at most ten times a second, and at the end.
  public mutating func advance(_ report: StepReport, epsilon: Double?) {
    tokens += report.targets
    loss = report.loss ?? loss
    self.epsilon = epsilon ?? self.epsilon
    let now = ContinuousClock.now
    let done = report.step + 1
    if let lastDrawn, now - lastDrawn < .milliseconds(100), done < steps { return }
    lastDrawn = now
    write("\r\u{1B}[K" + line(done: done, seconds: (now - start).seconds))
    if done == steps { write("\n") }
  }

  /// Ends the line, so that other output starts on its own.
  public func clear() { write("\r\u{1B}[K") }

  private func line(done: Int, seconds: Double) -> String {
    var parts = ["step \(done)/\(steps)"]
    if let loss { parts.append("loss " + loss.formatted(digits: 3)) }
    if let epsilon { parts.append("ε " + epsilon.formatted(digits: 2)) }
    parts.append("\(Int(Double(tokens) / max(seconds, 1e-9))) tokens/s")
    parts.append("\(Int((seconds / Double(max(done, 1)) * Double(steps - done)).rounded(.up))) s left")
    let text = parts.joined(separator: "  ")
    // A line as wide as the terminal wraps, and can't be written over.
    let columns = Self.terminalColumns - 1
    let width = min(24, columns - 1 - text.count)
    guard width >= 4 else { return String(text.prefix(columns)) }
    let filled = steps == 0 ? width : width * done / steps
    return String(repeating: "█", count: filled) + String(repeating: "░", count: width - filled) + " " + text
  }

  /// Of the terminal that is standard error, 80 where it doesn't say.
  private static var terminalColumns: Int {
    var size = winsize()
    guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 1 else { return 80 }
    return Int(size.ws_col)
  }

  private func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}

extension Double {
  /// With so many digits behind the point.
  public func formatted(digits: Int) -> String { String(format: "%.\(digits)f", self) }
}
