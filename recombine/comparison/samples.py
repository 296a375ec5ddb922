"""What a comparison shows of one trained method: swaps of the same images, and maps of its parts; kept as plain arrays."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recombine import files
from recombine.codes import Codes
from recombine.data.batch import mix_seed
from recombine.data.images import to_pixels
from recombine.data.packed import Pack
from recombine.data.schema import MISSING
from recombine.data.synthetic.truth import factors_behind, true_swaps
from recombine.edit import swap
from recombine.evaluation.judge import judged_rows
from recombine.evaluation.transfer import swap_pairs
from recombine.inference import device_of, encode_rows, evaluation_mode
from recombine.method import Method
from recombine.metrics.features import features

COLUMNS = 7         # swaps of an attribute that are shown
MAPPED = 300        # images on a map, at most
FEWEST = 10         # images that make a map
MOST_PARTS = 8      # that are mapped
STEPS = 500         # of t-SNE
KEPT = 30           # principal components that t-SNE begins from


def draw(model: Method, pack: Pack, split: str, attributes: Sequence[str], carries: Mapping[str, Collection[str]]) -> dict[str, np.ndarray]:
    """Everything that is shown of a method; the images are the same for all methods of one pack.

    Args:
        model: The method.
        pack: The data set, with all attributes.
        split: Whose images are shown.
        attributes: Whose swaps are shown.
        carries: Part -> attributes that it is meant to carry.

    Returns:
        `pictures` and `rebuilt`; per attribute `taker/NAME`, `giver/NAME`, `swap/NAME` and, of drawn images, `truth/NAME`,
        each uint8 `[pictures, channels, height, width]`; `map/PART`, float32 `[pictures, 2]`, and `label/NAME`, the labels
        of the mapped images.
    """
    rows = judged_rows(pack, split, MAPPED, mix_seed(0, "mapped"))
    rows = np.random.default_rng(mix_seed(0, "shown")).permutation(rows)
    with evaluation_mode(model):
        codes = encode_rows(model, pack, rows)
        shown = {"pictures": stored(pack.batch(rows[:COLUMNS]).images), "rebuilt": stored(model.decode(codes[:COLUMNS]))}
        for name in attributes:
            shown |= swaps(model, pack, rows, codes, name, carries)
    labels = {f"label/{name}": np.asarray(pack.labels[name])[rows] for name in attributes}
    return {**shown, **labels, **{f"map/{part}": flat for part, flat in maps(codes).items()}}


def swaps(model: Method, pack: Pack, rows: np.ndarray, codes: Codes, name: str, carries: Mapping[str, Collection[str]]) -> dict[str, np.ndarray]:
    """Takers, givers, and the takers with the part of the givers that carries an attribute."""
    pairs = swap_pairs(pack, rows, name)[:COLUMNS]
    if not pairs:
        return {}
    takers, givers = (torch.tensor([getattr(pair, side) for pair in pairs]) for side in ("place", "source"))
    shown = {f"taker/{name}": stored(pack.batch(rows[takers]).images), f"giver/{name}": stored(pack.batch(rows[givers]).images)}
    parts = [part for part, names in carries.items() if name in names]
    parts = [name] if name in parts else parts[:1]  # its own, where it has one
    if parts:
        device = device_of(model)
        shown[f"swap/{name}"] = stored(model.decode(swap(codes[takers.to(device)], codes[givers.to(device)], *parts)[0]))
    truth = true_swaps(pack)
    if truth is not None:
        drawn = [truth(int(rows[t]), int(rows[g]), factors_behind([name])) for t, g in zip(takers, givers, strict=True)]
        shown[f"truth/{name}"] = stored(torch.from_numpy(np.stack(drawn)))  # type: ignore[arg-type]
    return shown


def stored(images: Tensor) -> np.ndarray:
    """Images `[batch, channels, height, width]` in [-1, 1] as uint8."""
    return to_pixels(images)


def maps(codes: Codes) -> dict[str, np.ndarray]:
    """Every part of the codes laid out in the plane by t-SNE, `[pictures, 2]` in [0, 1]; a part that never changes has none."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    found = {}
    for part in list(codes)[:MOST_PARTS]:
        (flat,) = features(codes[part])
        if len(flat) < FEWEST or np.ptp(flat, axis=0).max() < 1e-6:
            continue
        if flat.shape[1] > KEPT:
            flat = PCA(min(KEPT, len(flat)), random_state=0).fit_transform(flat)
        layout = TSNE(perplexity=min(30, (len(flat) - 1) / 3), max_iter=STEPS, init="random", random_state=0).fit_transform(flat)
        low, high = layout.min(0), layout.max(0)
        found[part] = ((layout - low) / np.maximum(high - low, 1e-9)).astype(np.float32)
    return found


def known(labels: np.ndarray) -> np.ndarray:
    """Which labels are not missing."""
    return ~np.isnan(labels) if labels.dtype.kind == "f" else labels != MISSING


def save(path: Path, shown: Mapping[str, np.ndarray]) -> None:
    """Keep what is shown in an `.npz` file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **shown)  # type: ignore[arg-type]
    files.write_bytes(path, buffer.getvalue())


def read(path: Path) -> dict[str, np.ndarray]:
    """What is shown; nothing where there is no such file."""
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as found:
        return dict(found)
