"""The commands. Heavy modules are imported inside the functions, so that `--help` answers at once."""
