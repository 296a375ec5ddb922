"""`recombine data`: what is in a folder of labelled pictures, what is wrong with it, and packing it."""

from __future__ import annotations

from pathlib import Path

from recombine.commands.options import Flag
from recombine.commands.reading import Reading


def data(path: Path, /, *, pack: Path | None = None, reading: Reading | None = None, json: Flag = False) -> None:
    """Say what a folder of labelled pictures holds and what is wrong with it.

    For example, look first, correct what was guessed wrong, and pack for training:

        recombine data photos
        recombine data photos --kind age=continuous --unlabelled drop
        recombine data photos --kind age=continuous --unlabelled drop --pack packs/photos

    Understood are a Hugging Face imagefolder (metadata.csv, .jsonl or .parquet with
    file_name), CelebA's own files, any CSV, TSV or Parquet table with a column of
    paths, one folder for each class, and folders that --pack made.

    Exit code 1 says that something must be done before training.

    Args:
        path: The folder, or a label table that lies in it.
        pack: Decode, resize and check every picture once, and write them to this folder; stopped, it goes on.
        reading: How pictures are read.
        json: Print what was found as JSON.
    """
