"""The parts of a judgement: `context` holds what all of them look at, `edits` and `codes` measure, `recognition` too."""
