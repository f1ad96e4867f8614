import Testing

/// Everything that starts the program: one test after another, since the ranks share the machine's cores.
@Suite(.serialized) enum LaunchedProgramTests {}
