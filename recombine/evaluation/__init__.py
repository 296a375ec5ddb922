"""The judge: `context` holds what all sections share; `edits`, `codes` and `identity` measure them."""
