import Foundation

/// A process that the campaign started, with its output in files. What it starts in turn is found by what stands in its command line.
final class Child {
  let identifier: pid_t
  private let output: String
  /// Of the file with its standard error.
  let errors: String
  private(set) var status: Int32?

  /// - Parameters:
  ///   - command: a path, and arguments.
  ///   - log: what the names of the files with its output begin with.
  init(_ command: [String], environment: [String: String], log: String) throws {
    (output, errors) = (log + ".out", log + ".err")
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    let arguments = command.map { strdup($0) } + [nil]
    let variables = environment.map { strdup("\($0)=\($1)") } + [nil]
    defer { for text in arguments + variables { free(text) } }
    var identifier: pid_t = 0
    let code = posix_spawnp(&identifier, command[0], &actions, nil, arguments, variables)
    guard code == 0 else { throw Trouble("\(command[0]): \(String(cString: strerror(code)))") }
    self.identifier = identifier
  }

  /// Whether it has ended; its status is then known, 128 + the signal's number where one ended it.
  var hasEnded: Bool {
    if status != nil { return true }
    var word: Int32 = 0
    guard waitpid(identifier, &word, WNOHANG) == identifier else { return false }
    status = word & 0x7f == 0 ? (word >> 8) & 0xff : 128 + (word & 0x7f)
    return true
  }

  /// - Returns: whether it ended in time.
  func wait(until deadline: ContinuousClock.Instant) -> Bool {
    while !hasEnded {
      if ContinuousClock.now >= deadline { return false }
      usleep(1000)
    }
    return true
  }

  var outputText: String { (try? String(contentsOfFile: output, encoding: .utf8)) ?? "" }
  var errorText: String { String(decoding: FileManager.default.contents(atPath: errors) ?? Data(), as: UTF8.self) }
  var errorLines: [String] { errorText.split(whereSeparator: \.isNewline).map(String.init) }

  /// Runs a command to its end and gives its standard output.
  @discardableResult
  static func run(_ command: [String], environment: [String: String], log: String) throws -> String {
    let child = try Child(command, environment: environment, log: log)
    guard child.wait(until: .now + .seconds(60)) else {
      kill(child.identifier, SIGKILL)
      throw Trouble("\(command.joined(separator: " ")): took more than a minute")
    }
    guard child.status == 0 else { throw Trouble("\(command.joined(separator: " ")): \(child.status ?? -1): \(child.errorText)") }
    return child.outputText
  }
}

/// Why the campaign itself can't go on.
struct Trouble: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// Processes, as /proc shows them: a command line, by the process' number.
enum Processes {
  /// Those that have `text` in their command line and aren't zombies.
  static func mentioning(_ text: String) -> [pid_t: [String]] {
    var found: [pid_t: [String]] = [:]
    for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {
      guard let number = pid_t(name), number != getpid(), let bytes = FileManager.default.contents(atPath: "/proc/\(name)/cmdline"), !bytes.isEmpty
      else { continue }
      let words = bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
      if words.contains(where: { $0.contains(text) }) { found[number] = words }
    }
    return found
  }

  /// The ranks of a job: by the program's own name, and the run's directory.
  static func ranks(of run: String) -> [pid_t] {
    mentioning(run).filter { $0.value.first?.hasSuffix("/dp-mpirun") == true }.keys.sorted()
  }
}
