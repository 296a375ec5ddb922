"""What a comparison shows of one trained method, as plain arrays: swaps of the same images, and maps of its parts."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from recombine import files
from recombine.codes import Codes
from recombine.data.batch import mix_seed
from recombine.data.images import to_pixels
from recombine.data.packed import Pack
from recombine.data.synthetic.truth import factors_behind, true_swaps
from recombine.edit import swap
from recombine.evaluation.judge import judged_rows
from recombine.evaluation.transfer import swap_pairs
from recombine.inference import device_of, encode_rows, evaluation_mode
from recombine.method import Method
from recombine.metrics.probes import features

COLUMNS = 7         # swaps of an attribute that are shown
MAPPED = 300        # images on a map, at most
FEWEST = 10         # images that make a map
MOST_PARTS = 8      # that are mapped
STEPS = 500         # of t-SNE
COMPONENTS = 30     # principal components that t-SNE begins from

Arrays = dict[str, np.ndarray]


def draw(
    model: Method, pack: Pack, split: str, attributes: Sequence[str], roles: Mapping[str, Collection[str]]
) -> Arrays:
    """Everything that is shown of a method; the images are the same for all methods of one pack.

    `attributes` are those whose swaps are shown, `roles` part -> attributes that it is meant to carry.

    Returns:
        `pictures` and `rebuilt` (reconstructed); per attribute `taker/NAME` (targets), `giver/NAME` (sources),
        `swap/NAME` and, of synthetic images, `truth/NAME`, each uint8 `[images, channels, height, width]`; `map/PART`,
        float32 `[images, 2]`, and `label/NAME`, the labels of the mapped images.
    """
    rows = judged_rows(pack, split, MAPPED, mix_seed(0, "mapped"))
    rows = np.random.default_rng(mix_seed(0, "shown")).permutation(rows)
    with evaluation_mode(model):
        codes = encode_rows(model, pack, rows)
        shown = {
            "pictures": to_pixels(pack.batch(rows[:COLUMNS]).images),
            "rebuilt": to_pixels(model.decode(codes[:COLUMNS])),
        }
        for name in attributes:
            shown |= swaps(model, pack, rows, codes, name, roles)
    labels = {f"label/{name}": np.asarray(pack.labels[name])[rows] for name in attributes}
    return {**shown, **labels, **{f"map/{part}": flat for part, flat in maps(codes).items()}}


def swaps(
    model: Method, pack: Pack, rows: np.ndarray, codes: Codes, name: str, roles: Mapping[str, Collection[str]]
) -> Arrays:
    """Targets, sources, and the targets with the part of the sources that carries an attribute."""
    pairs = swap_pairs(pack, rows, name)[:COLUMNS]
    if not pairs:
        return {}
    targets, sources = (torch.tensor([getattr(pair, side) for pair in pairs]) for side in ("place", "source"))
    shown = {
        f"taker/{name}": to_pixels(pack.batch(rows[targets]).images),
        f"giver/{name}": to_pixels(pack.batch(rows[sources]).images),
    }
    parts = [part for part, names in roles.items() if name in names]
    parts = [name] if name in parts else parts[:1]  # its own, where it has one
    if parts:
        device = device_of(model)
        swapped, _ = swap(codes[targets.to(device)], codes[sources.to(device)], *parts)
        shown[f"swap/{name}"] = to_pixels(model.decode(swapped))
    if truth := true_swaps(pack):
        factors = factors_behind(pack, [name])
        true = [truth(int(rows[t]), int(rows[s]), factors) for t, s in zip(targets, sources, strict=True)]
        shown[f"truth/{name}"] = to_pixels(torch.from_numpy(np.stack(true)))  # type: ignore[arg-type]
    return shown


def maps(codes: Codes) -> Arrays:
    """Every part laid out in the plane by t-SNE, `[images, 2]` in [0, 1]; a constant part has no map."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    found = {}
    for part in list(codes)[:MOST_PARTS]:
        (flat,) = features(codes[part])
        if len(flat) < FEWEST or np.ptp(flat, axis=0).max() < 1e-6:
            continue
        if flat.shape[1] > COMPONENTS:
            flat = PCA(min(COMPONENTS, len(flat)), random_state=0).fit_transform(flat)
        perplexity = min(30, (len(flat) - 1) / 3)
        layout = TSNE(perplexity=perplexity, max_iter=STEPS, init="random", random_state=0).fit_transform(flat)
        low, high = layout.min(0), layout.max(0)
        found[part] = ((layout - low) / np.maximum(high - low, 1e-9)).astype(np.float32)
    return found


def save(path: Path, shown: Mapping[str, np.ndarray]) -> None:
    """Store what is shown in an `.npz` file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **shown)  # type: ignore[arg-type]
    files.write_bytes(path, buffer.getvalue())


def read(path: Path) -> Arrays:
    """What is shown; nothing where there is no such file."""
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as found:
        return dict(found)
