"""The commands, one file each. Heavy modules are imported inside the functions, so that `--help` answers at once."""
