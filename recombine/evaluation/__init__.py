"""The parts of a judgement: `desk` holds what all of them look at, `edits` and `codes` measure, `recognition` too."""
