"""A run's report: `report.html`, one page with images, numbers and curves, and `report.json` with the same numbers.

The page holds everything it shows, asks no network, needs no script, and follows the reader's light or dark setting. What it
is made of stands in `recombine.reports`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from recombine import files
from recombine.data.batch import mix_seed
from recombine.data.packed import Pack
from recombine.evaluation.judge import judged_rows
from recombine.inference import device_of, evaluation_mode
from recombine.method import Method
from recombine.reports.curves import INK, PALETTE, curve, curves, read_log, thinned
from recombine.reports.figures import label_figures, picture, shown_values, strip, swap_figures
from recombine.reports.style import STYLE
from recombine.reports.tables import (
    attribute_table,
    codes_table,
    kept_table,
    leak_table,
    parts_table,
    realism_table,
    recognition_tables,
)
from recombine.reports.words import decibel, escape, look, number, percent, section, span

__all__ = [
    "INK", "PALETTE", "STYLE", "curve", "curves", "decibel", "escape", "label_figures", "look", "number", "percent", "picture", "read_log",
    "report", "section", "shown_values", "span", "strip", "swap_figures", "thinned",
]


def report(
    folder: str | Path,
    judgement: Mapping,
    *,
    model: Method | None = None,
    pack: Pack | None = None,
    title: str | None = None,
    pictures: int = 5,
) -> Path:
    """Write the report of a run.

    Args:
        folder: The run's folder; its `log.jsonl` and `config.json` are read where they are.
        judgement: What `recombine.evaluation.judge.judge` found.
        model: Draws the image grids, together with `pack`; without them the page has none.
        pack: Where the images come from; those shown are of the judged split.
        title: The page's; the folder's name when None.
        pictures: Rows and columns of the grids.

    Returns:
        The path of `report.html`.
    """
    folder = Path(folder)
    config, log = read_config(folder), read_log(folder / "log.jsonl")
    title = title or folder.resolve().name
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    shown = grids(model, pack, judgement, pictures) if model is not None and pack is not None else []
    page = render_page(title, now, judgement, shown, curves(log), config)
    content = {"title": title, "written": now, "judgement": judgement, "config": config}
    files.write_text(folder / "report.json", json.dumps(content, indent=1, allow_nan=False))
    files.write_text(folder / "report.html", page)
    return folder / "report.html"


def render_page(
    title: str, written: str, judgement: Mapping, grids: Sequence[str], curves: Sequence[str], config: Mapping
) -> str:
    """The whole page from its finished parts."""
    method = config.get("method")
    about = f"{escape(method)}, " if method else ""
    share = f"{judgement['pictures']:,} of {judgement['of']:,}" if judgement["pictures"] < judgement["of"] else f"{judgement['of']:,}"
    sections = [
        warning(judgement),
        tiles(judgement),
        section("Edits", grids, "Every column is one edit of the images on the left; none was seen in training."
                if not judgement["on_training_data"] else "Every column is one edit of the images on the left."),
        section("Attribute by attribute", [attribute_table(judgement)]),
        section("What else an edit changes", [kept_table(judgement)], "Share of images in which the attribute above "
                "is seen as before, after an edit of the attribute on the left."),
        section("Codes", codes_section(judgement), "What the parts of the codes tell, and whether it moves with them."),
        section("Realism", [realism_table(judgement)], seen_by(judgement)),
        section("Recognition", recognition_tables(judgement), "Two images of one group are compared by one part of their codes."),
        section("Training", curves, "Against images seen."),
        section("How this was measured", [explanation(judgement)]),
        section("Settings", [settings(config)]),
    ]
    head = f"<header><h1>{escape(title)}</h1><p>{about}judged on {share} images of the split "
    head += f"<b>{escape(judgement['split'])}</b>, {escape(written)}</p></header>"
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    return (
        f'<!doctype html>\n<html lang="en"><head>{meta}<title>{escape(title)}</title><style>{STYLE}</style></head>\n'
        f"<body><main>{head}\n{chr(10).join(part for part in sections if part)}\n</main></body></html>\n"
    )


def warning(judgement: Mapping) -> str:
    """A notice where the numbers say nothing about new images."""
    if not judgement["on_training_data"]:
        return ""
    return '<p class="warning">These images were used in training. The numbers below say nothing about new ones.</p>'


def tiles(judgement: Mapping) -> str:
    """The headline numbers, each with its interval."""
    entries = [
        ("Edits that succeed", percent, ("edits", "all", "success"), "the wanted label is seen" + of_truth(judgement, "success")),
        ("Others kept", percent, ("edits", "all", "kept"), "other attributes are seen as before" + of_truth(judgement, "kept")),
        ("Swaps that succeed", percent, ("swaps", "all", "success"), "the other image's label is seen"),
        ("Edit against truth", decibel, ("truth", "edits", "psnr", "all", "edited"), beside_truth(judgement)),
        ("Reconstruction", decibel, ("reconstruction", "psnr"), "PSNR, mean over images"),
        ("SSIM", number, ("reconstruction", "ssim"), "structural similarity, 1 = equal"),
        ("Leakage", percent, ("leakage", "off_part", "two_layer"), "above guessing, what parts tell that they should not"),
        ("Fréchet distance", number, ("realism", "swaps", "frechet"), "of swapped images" + of_real(judgement)),
    ]
    cells = []
    for name, unit, path, note in entries:
        found = look(judgement, *path)
        if found:
            cells.append(
                f'<div class="tile"><span>{escape(name)}</span><strong>{unit(found["value"])}</strong>'
                f"<small>{span(found, unit)}</small><small>n = {found['n']:,}</small><small>{escape(note)}</small></div>"
            )
    return f'<div class="tiles">{"".join(cells)}</div>'


def of_truth(judgement: Mapping, measure: str) -> str:
    """What the true images themselves score, the most that any method could."""
    found = look(judgement, "truth", "edits", "truth_as_seen", measure)
    return f"; true images score {percent(found['value'])}" if found else ""


def of_real(judgement: Mapping) -> str:
    """What as many real images have."""
    found = look(judgement, "realism", "real", "frechet")
    return f"; other real ones have {number(found['value'])}" if found else ""


def beside_truth(judgement: Mapping) -> str:
    """What stands below the PSNR against the truth."""
    original = look(judgement, "truth", "edits", "psnr", "all", "original")
    return f"PSNR; the unedited image has {decibel(original['value'])}" if original else ""


def codes_section(judgement: Mapping) -> list[str]:
    """Tables of what the parts carry, of the headline numbers, and of what probes read from every part."""
    names = {"linear": "linear probe", "two_layer": "two-layer probe"}
    cells = {name: leak_table(judgement, probe) for probe, name in names.items()}
    matrices = "".join(f"<div><h3>Read by a fresh {name}</h3>{found}</div>" for name, found in cells.items() if found)
    lead = "Percentage points above always guessing the most frequent value, attribute by part; framed where the part is meant to tell."
    shown = f'<p class="lead">{lead}</p><div class="figures">{matrices}</div>' if matrices else ""
    return [codes_table(judgement), parts_table(judgement), shown]


def seen_by(judgement: Mapping) -> str:
    """Who looked at the images, and at how many."""
    found = look(judgement, "realism", "reconstructions", "kid")
    return f"Seen by: {found['extractor']}; {found['features']} features, {found['n']:,} images on both sides." if found else ""


def explanation(judgement: Mapping) -> str:
    """What the words mean, what could not be measured, and how long it took."""
    words = {
        "Edit succeeds": "an independent classifier, trained on the training split and never shown to the method, sees the "
        "wanted value in the edited image. Every attribute of every image is set to another value.",
        "Others kept": "over all other attributes, the classifier sees the same value as in the original image.",
        "Swap": "the attribute's part is taken from another image with another label; that label is the wanted one.",
        "PSNR": "in dB, of images on [0, 1], of every image by itself and then averaged; 100 dB for equal ones.",
        "Pixels moved": "mean difference of all pixels, in % of the full range, between two values of the label; 0 means "
        "that the label is ignored.",
        "Part swap": "a whole part is taken from another image; every attribute that it is meant to carry and in which both "
        "differ should follow.",
        "Leakage": "probes are trained on codes of training images and read the judged ones; the mean, over all parts and "
        "attributes that these should not tell, of how much oftener they are right than guessing is. 0 % = nothing leaks.",
        "Entropy of probes": "how unsure fresh linear probes are where there should be nothing to tell, as a share of the most "
        "that is possible; 1 = they see nothing.",
        "Mutual information": "what the parts of attributes and the others know of each other (or appearance and pose), by "
        "a classifier trained to tell codes of one image from codes of two; 0 nats = nothing.",
        "MIG, SAP, DCI": "how far every single number of the codes stands for one attribute, 0 to 1. A part of many numbers "
        "that shares an attribute out among them scores low though nothing leaks.",
        "Realism": "distances between two sets of images as the extractor sees them, 0 = alike; only to be compared with the "
        "same extractor and as many images.",
        "Recognition": "same or not: a threshold on the distance of two codes, chosen on nine tenths of the pairs. Kept: a part "
        "that has nothing to do with the group comes from another one, and the image is compared with a partner of its own "
        "group by a verifier that was trained on training images.",
        "Intervals": "95 %, Wilson for shares, bootstrap for means; several verdicts on one image count as fewer.",
    }
    rows = "".join(f"<dt>{escape(word)}</dt><dd>{escape(text)}</dd>" for word, text in words.items())
    for name, reason in judgement.get("left_out", {}).items():
        rows += f"<dt>Left out: {escape(name)}</dt><dd>{escape(reason)}</dd>"
    before = look(judgement, "edits", "all", "kept_unedited")
    if before:
        rows += f"<dt>Without any edit</dt><dd>taking an image apart and putting it together keeps {percent(before['value'])}</dd>"
    seconds = ", ".join(f"{escape(name)} {value:.0f} s" for name, value in judgement.get("seconds", {}).items())
    return f"<dl>{rows}</dl>" + (f"<p><small>Time: {seconds}</small></p>" if seconds else "")


def settings(config: Mapping) -> str:
    """The run's settings, folded."""
    text = json.dumps(config, indent=2, ensure_ascii=False)
    return f"<details><summary>config.json</summary><pre>{escape(text)}</pre></details>" if config else ""


def grids(model: Method, pack: Pack, judgement: Mapping, count: int) -> list[str]:
    """Figures of label edits and swaps, of images drawn from the judged split."""
    seed = mix_seed(judgement["seed"], "shown")
    rows = np.random.default_rng(seed).permutation(judged_rows(pack, judgement["split"], 2 * count, seed))
    takers, givers = rows[:count], rows[count:] if len(rows) > count else rows
    with evaluation_mode(model):
        images = pack.batch(takers).images.to(device_of(model))
        codes = model.encode(images)
        given = pack.batch(givers).images.to(device_of(model))
        parts = swap_figures(model, codes, images, model.encode(given), given)
        return [label_figures(model, codes, images), f'<h3>Swaps</h3><p class="lead">The part of the image above goes '
                f'into the image on the left.</p><div class="figures">{"".join(parts)}</div>']


def read_config(folder: Path) -> dict:
    """The run's `config.json`; empty where there is none."""
    path = folder / "config.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}
