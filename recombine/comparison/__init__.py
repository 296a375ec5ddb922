"""Methods under one budget: a `plan`, `worker`s on its cells, the `content` of the report, and its `page`."""
