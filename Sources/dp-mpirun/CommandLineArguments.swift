import DistEngine

/// The command line as people write it, made into what the parser knows.
enum CommandLineArguments {
  /// Refuses arguments that aren't UTF-8: names of files would be others than those that were meant.
  static func checkEncoding() {
    for place in 1..<max(1, Int(CommandLine.argc)) {
      guard let argument = CommandLine.unsafeArgv[place], String(validatingCString: argument) == nil else { continue }
      let error = UsageError(
        description: "argument \(place), \(String(cString: argument)), is not valid UTF-8: names of files and directories must be")
      LauncherRank.refuse(error)
    }
  }

  /// Options that say one thing more each time they are given. Of any other the parser would take the last, in silence.
  private static let repeatable: Set = ["--phase", "--spent", "--merge", "--data", "--eval-data"]
  private static let flags: Set = [
    "--json", "--curve", "--lora-freeze-a", "--no-progress", "--timings", "--base-is-public", "--allow-core-dumps", "--special-tokens", "--help",
    "--version",
  ]
  /// Options whose value may be empty.
  private static let mayBeEmpty: Set = ["--prompt"]

  /// `--mode test` and `--mode memory` mean the subcommands; a negative number after an option is its value, which the parser takes for
  /// another option.
  ///
  /// - Throws: ``UsageError`` for an option that is given twice, or without a value.
  static func normalised(_ arguments: [String]) throws -> [String] {
    try withValuesJoined(withSubcommand(arguments))
  }

  private static func withSubcommand(_ arguments: [String]) -> [String] {
    for command in ["test", "memory"] {
      var rest = arguments
      if let place = rest.firstIndex(of: "--mode"), place + 1 < rest.count, rest[place + 1] == command {
        rest.removeSubrange(place...place + 1)
        return [command] + rest
      }
      if let place = rest.firstIndex(of: "--mode=\(command)") {
        rest.remove(at: place)
        return [command] + rest
      }
    }
    return arguments
  }

  private static func withValuesJoined(_ arguments: [String]) throws -> [String] {
    var (result, seen): ([String], Set<String>) = ([], [])
    var place = 0
    while place < arguments.count {
      let argument = arguments[place]
      place += 1
      if argument == "--" { return result + arguments[(place - 1)...] }
      let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      guard argument.hasPrefix("--"), !flags.contains(parts[0]) else {
        result.append(argument)
        continue
      }
      result.append(argument)
      var value = parts.count == 2 ? parts[1] : nil
      if value == nil, place < arguments.count, !arguments[place].hasPrefix("--") {
        let next = arguments[place]
        value = next
        place += 1
        if next.hasPrefix("-"), Double(next) != nil {
          result[result.count - 1] = "\(argument)=\(next)"
        } else {
          result.append(next)
        }
      }
      if !repeatable.contains(parts[0]), !seen.insert(parts[0]).inserted {
        throw UsageError(description: "\(parts[0]): is given twice, the second time \(value ?? "without a value"); give it once")
      }
      if value == "", !mayBeEmpty.contains(parts[0]) {
        throw UsageError(description: "\(parts[0]): its value is empty; give one, or leave the option out")
      }
    }
    return result
  }
}
