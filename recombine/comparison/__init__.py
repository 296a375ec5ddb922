"""Methods under one budget: `plan`, `worker` on its cells with `leases`, `judging`, `ranking`, and the `page`."""
