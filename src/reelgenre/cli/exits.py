"""The exit codes of every command."""

OK = 0
FAILED = 1
USAGE = 2
SOME_FAILED = 3
INTERRUPTED = 130
TERMINATED = 143
