"""Methods under one budget: `plan`, `worker` on its cells under `recombine.locks`, `judging`, `ranking`, and the `page`."""
