"""The command line: every verb, in a pipe and in a terminal."""
