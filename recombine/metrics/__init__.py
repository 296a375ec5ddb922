"""How good a method is, measured by judges that it never saw."""
