"""The use cases: what each command does, without options and exit codes."""
