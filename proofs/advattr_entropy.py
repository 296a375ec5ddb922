"""advattr with and without L_dis: what every head can tell from every code (Fig. 5), and whether codes cluster (Table III).

    python proofs/advattr_entropy.py

The entropies are those of the two models that `proofs/five_on_avatars.py --only advattr advattr-without-dis` left in
`runs/five`, on val persons. The Hopkins statistics are those of the reduced form, fully connected encoders for expression and
lighting on the avatars' principal components, for the val persons' expression codes, expression by expression.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from record import record
from sklearn.decomposition import PCA

import recombine
from recombine.data.packed import Pack
from recombine.methods.advattr import AdvAttr
from recombine.methods.advattr_vectors import AdvAttrVectors
from recombine.metrics.entropy import entropy_matrix
from recombine.metrics.hopkins import hopkins
from recombine.metrics.intervals import mean
from recombine.metrics.transfer import encoded, judging

PAIR = ("expression", "lighting")
COMPONENTS = 100                            # of the pixels that the reduced form sees
PLANE = 2                                   # principal components of the codes in which clusters are looked for


def entropies(model: AdvAttr, pack: Pack) -> dict:
    """Part -> head -> mean entropy over ln K, and the mean over all heads that a part should leave unsure."""
    places = {name: place for place, name in enumerate(model.schema.names)}
    with judging(model):
        codes = encoded(model, pack, np.asarray(pack.rows("val")))
        found = entropy_matrix(lambda part, name: model.classifiers(None, [part])[places[name]][0], codes, list(places))
    off = [cell.value for part, row in found.items() for name, cell in row.items() if name != part]
    return {"off_attribute": mean(off).to_json(), "of": {part: {name: cell.to_json() for name, cell in row.items()} for part, row in found.items()}}


def clusters(pack: Pack, dis_weight: float, seeds: int) -> dict:
    """Expression -> Hopkins statistic of its val codes, averaged over trainings from several seeds, and the mean of all."""
    rows = {split: np.asarray(pack.rows(split)) for split in ("train", "val")}
    pixels = {split: pack.images[of].reshape(len(of), -1).astype(np.float32) / 255 for split, of in rows.items()}
    axes = PCA(COMPONENTS, svd_solver="randomized", random_state=0).fit(pixels["train"])
    labels = {name: pack.labels[name][rows["train"]] for name in PAIR}
    values, known = pack.schema["expression"].values, pack.labels["expression"][rows["val"]]
    scores: dict[str, list[float]] = {value: [] for value in values}
    for seed in range(seeds):
        model = AdvAttrVectors(dis_weight=dis_weight, steps=3_000, seed=seed).fit(axes.transform(pixels["train"]), labels)
        codes = model.transform(axes.transform(pixels["val"]))["expression"]
        for place, value in enumerate(values):
            scores[value].append(hopkins(codes[known == place], dimensions=PLANE).value)
    return {"all": mean([s for of in scores.values() for s in of]).to_json(), **{value: mean(of).to_json() for value, of in scores.items()}}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/five"))
    parser.add_argument("--seeds", type=int, default=5, help="trainings of the reduced form")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    pack = Pack(options.runs / "pack")
    values = {}
    for key, run, weight in (("with_dis", "advattr", 1.0), ("without_dis", "advattr-without-dis", 0.0)):
        model = recombine.load(options.runs / run)
        assert isinstance(model, AdvAttr)
        values[key] = {"entropy": entropies(model, pack), "hopkins": clusters(pack, weight, options.seeds)}
    record(
        "advattr-entropy",
        "With L_dis other attributes' heads cannot tell anything from a code, and codes of one expression do not cluster.",
        values,
        {"val_pictures": len(pack.rows("val")), "trainings_of_the_reduced_form": options.seeds},
        settings=f"entropies: the models of five-on-avatars; Hopkins: {COMPONENTS} principal components in, {PLANE} of the codes looked at",
    )
