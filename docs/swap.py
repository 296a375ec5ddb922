"""Draws `swap.png`: every row is one face, every column lends it one of its parts.

For example: .venv/bin/python docs/swap.py runs/avatars docs/swap.png
"""

import sys

import torch

import recombine as rc
from recombine.training.runs import pack_of

PARTS = ("hair", "glasses", "mouth", "eyes", "clothes")
FACES = 5


def main(run: str, path: str) -> None:
    """Faces that were not trained on; each takes each part from the next face that has another."""
    model, pack = rc.load(run), pack_of(run)
    rows = pack.rows("val")
    rows = rows[:: len(rows) // FACES][:FACES]  # different people
    images = pack.batch(rows).images
    with torch.inference_mode():
        codes = model.encode(images)
        parts = [part for part in PARTS if part in codes]
        swapped = [model.decode(rc.swap(codes, codes.roll(1), part)[0]) for part in parts]
        decoded = model.decode(codes)
    columns = [images, decoded, *swapped, images.roll(1, 0)]
    titles = ["target", "decoded", *parts, "source"]
    rc.save_images(rc.grid([[column[i : i + 1] for column in columns] for i in range(FACES)], titles=titles), path)


if __name__ == "__main__":
    main(*sys.argv[1:])
