"""A judgement as tables: attribute by attribute, what an edit damages, and what the codes tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from recombine.reports.words import decibel, escape, look, number, percent, span


def attribute_table(judgement: Mapping) -> str:
    """One row an attribute: success, what is kept, swaps, PSNR, sensitivity and how good the classifier is."""
    columns = {
        "edit succeeds": ("edits", "attributes", None, "success"),
        "others kept": ("edits", "attributes", None, "kept"),
        "swap succeeds": ("swaps", "attributes", None, "success"),
        "others kept by swap": ("swaps", "attributes", None, "kept"),
        "classifier right": ("judge", "attributes", None, "accuracy"),
        "PSNR to truth": ("truth", "edits", "psnr", None, "edited"),
        "unedited to truth": ("truth", "edits", "psnr", None, "original"),
        "pixels moved": ("sensitivity", None),
    }
    places = [("edits", "attributes"), ("swaps", "attributes"), ("truth", "edits", "psnr"), ("sensitivity",)]
    names = list(dict.fromkeys(n for place in places for n in look(judgement, *place) or {} if n != "all"))
    used = {c: path for c, path in columns.items() if any(look(judgement, *(p or n for p in path)) for n in names)}
    rows = ["".join(measured(look(judgement, *(p or name for p in path)), column) for column, path in used.items()) for name in names]
    return table(list(used), dict(zip(names, rows, strict=True)))


def measured(found: Mapping | None, column: str) -> str:
    """A cell of the attribute table: the value, a bar where it is a share, its interval."""
    if not found:
        return '<td class="none">·</td>'
    unit = decibel if "truth" in column else percent
    bar = f' style="--share:{found["value"]:.3f}"' if unit is percent and column != "pixels moved" else ""
    return f'<td{bar} title="n = {found["n"]:,}"><b>{unit(found["value"])}</b><small>{span(found, unit)}</small></td>'


def kept_table(judgement: Mapping) -> str:
    """Edited attribute by other attribute; darker where more is damaged."""
    kept = look(judgement, "edits", "kept_of") or {}
    others = list(dict.fromkeys([*kept, *(other for row in kept.values() for other in row)]))
    if len(others) < 2:
        return ""
    rows = {name: "".join(kept_cell(name, other, row.get(other)) for other in others) for name, row in kept.items()}
    return table([f"|{other}" for other in others], rows, "matrix")


def kept_cell(edited: str, other: str, found: Mapping | None) -> str:
    """How often one attribute is seen as before after an edit of another."""
    if found is None:
        return '<td class="none"></td>'
    about = f"{escape(edited)} edited, {escape(other)} kept, n = {found['n']:,}"
    return f'<td class="heat" style="--damage:{1 - found["value"]:.3f}" title="{about}">{found["value"]:.0%}</td>'


def parts_table(judgement: Mapping) -> str:
    """One row a part: what it carries, and whether that follows when the part is given away."""
    columns = {
        "what it carries follows": ("success",),
        "others kept": ("kept",),
        "PSNR to truth": ("psnr", "edited"),
        "unedited to truth": ("psnr", "original"),
    }
    found = look(judgement, "parts", "parts") or {}
    rows = {}
    for part, measures in found.items():
        carried = ", ".join(judgement["carries"][part])
        rows[part] = f'<td class="words">{escape(carried)}</td>' + "".join(measured(look(measures, *path), c) for c, path in columns.items())
    return table(["carries", *columns], rows)


def leak_table(judgement: Mapping, probe: str) -> str:
    """Part by attribute: how far a fresh probe is above guessing; darker where a part tells what it should not."""
    matrix = look(judgement, "leakage", "matrix", probe) or {}
    told = {name for row in matrix.values() for name in row}
    carried = [name for names in judgement["carries"].values() for name in names if name in told]
    names = list(dict.fromkeys([*carried, *(name for row in matrix.values() for name in row)]))
    rows = {part: "".join(leak_cell(row.get(name), name in judgement["carries"][part]) for name in names) for part, row in matrix.items()}
    return table([f"|{name}" for name in names], rows, "matrix")


def leak_cell(found: Mapping | None, own: bool) -> str:
    """One reading: points above the majority rate, or R^2 of a number; framed where the part is meant to tell."""
    if found is None:
        return '<td class="none"></td>'
    value = found["r2"] if "r2" in found else found["above"]
    told = max(0.0, value["value"])
    text = f"R² {value['value']:.2f}" if "r2" in found else f"{100 * value['value']:+.0f}"
    about = f"R² {span(value, number)}" if "r2" in found else f"right in {percent(found['accuracy']['value'])}, guessing in {percent(found['majority'])}"
    look_of = 'class="heat own"' if own else f'class="heat" style="--damage:{told:.3f}"'
    return f'<td {look_of} title="{about}, n = {value["n"]:,}">{text}</td>'


def codes_table(judgement: Mapping) -> str:
    """The numbers that say in one word what the codes tell."""
    columns = {
        "leakage, linear probe": (percent, ("leakage", "off_part", "linear")),
        "leakage, two-layer probe": (percent, ("leakage", "off_part", "two_layer")),
        "entropy of probes": (number, ("entropy", "off_part")),
        "mutual information, nats": (number, ("information",)),
        "MIG": (number, ("disentanglement", "mig", "all")),
        "SAP": (number, ("disentanglement", "sap", "all")),
        "DCI, disentanglement": (number, ("disentanglement", "dci", "disentanglement")),
        "DCI, completeness": (number, ("disentanglement", "dci", "completeness")),
    }
    found = {name: cell(look(judgement, *path), unit) for name, (unit, path) in columns.items() if look(judgement, *path)}
    return table(list(found), {"all parts": "".join(found.values())} if found else {})


def realism_table(judgement: Mapping) -> str:
    """Distances of made images from real ones, beside those of other real ones."""
    found = look(judgement, "realism") or {}
    names = {"reconstructions": "reconstructions", "swaps": "swaps", "real": "other real images"}
    rows = {text: "".join(cell(look(found, name, kind), number) for kind in ("frechet", "kid")) for name, text in names.items() if name in found}
    return table(["Fréchet distance", "kernel distance (KID)"], rows)


def recognition_tables(judgement: Mapping) -> list[str]:
    """For every group: by which part it is recognised, and how often it outlives an edit."""
    parts = []
    for group, found in (look(judgement, "recognition") or {}).items():
        rows = {
            part: cell(found["verification"][part], percent) + cell(found["retrieval"][part]["map"], number) + cell(found["retrieval"][part]["top1"], percent)
            for part in found["verification"]
        }
        chance = f"Guessing has 50 % and {number(found['retrieval_by_chance'])}."
        parts += [f'<h3>{escape(group)}</h3><p class="lead">{chance}</p>', table(["same or not", "retrieval mAP", "nearest is the same"], rows)]
        kept = found.get("identity_kept", {})
        words = {
            "verifier": "the verifier itself is right", "original": "unedited images recognised", "rebuilt": "rebuilt images recognised",
            "kept": "edited images recognised", "others": "images of others taken for it",
        }
        cells = {text: cell(kept[name], percent) for name, text in words.items() if name in kept}
        parts.append(table(list(cells), {f"{group} kept": "".join(cells.values())}))
    return parts


def cell(found: Mapping | None, unit: Callable[[float], str]) -> str:
    """A number with its interval; both n where there are two."""
    if not found:
        return '<td class="none">·</td>'
    count = f"n = {found['n']:,}"
    bar = f' style="--share:{max(0.0, found["value"]):.3f}"' if unit is percent else ""
    return f'<td{bar} title="{count}"><b>{unit(found["value"])}</b><small>{span(found, unit)}</small><small>{count}</small></td>'


def table(columns: Sequence[str], rows: Mapping[str, str], kind: str = "") -> str:
    """Rows of finished cells under their headings, which are turned where they begin with a bar; nothing without rows."""
    if not rows or not columns:
        return ""
    head = "".join(f'<th class="turned"><span>{escape(c[1:])}</span></th>' if c[0] == "|" else f"<th>{escape(c)}</th>" for c in columns)
    body = "".join(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>' for name, cells in rows.items())
    look_of = f' class="{kind}"' if kind else ""
    return f'<div class="wide"><table{look_of}><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
