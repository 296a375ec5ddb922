"""The parts of a comparison: `plan`, `work` on its cells with `claims`, `judging`, `standings`, and the `page`."""
