"""Data sets drawn here, of which every factor and the true result of every edit are known."""
