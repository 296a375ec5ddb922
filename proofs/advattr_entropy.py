"""advattr with and without L_dis: what every head can tell from every code (Fig. 5), and whether codes cluster (Table III).

    python proofs/advattr_entropy.py

The entropies are those of the two models that `proofs/five_on_avatars.py --only advattr advattr-without-dis` left in
`runs/five`, on val persons. The Hopkins statistics are those of the reduced form, fully connected encoders for expression and
light, on the principal components of faces as a light stage takes them: one head, six expressions, three lights, and small turns
and tilts; expression by expression, on held-out faces.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from record import record
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

import recombine
from recombine.data import avatars
from recombine.data.packed import Pack
from recombine.methods.advattr import AdvAttr
from recombine.methods.advattr_vectors import AdvAttrVectors
from recombine.metrics.entropy import entropy_matrix
from recombine.metrics.hopkins import hopkins
from recombine.metrics.intervals import mean
from recombine.metrics.transfer import encoded, judging

SHOWN = {  # a mouth and brows for each expression
    "neutral": ("serious", "calm"), "happiness": ("smile", "calm"), "sadness": ("sad", "worried"), "surprise": ("open", "calm"),
    "anger": ("serious", "angry"), "fear": ("open", "worried"),
}  # fmt: skip
LIGHTS = (-1.0, 0.0, 1.0)
COMPONENTS = 30                             # of the pixels that the reduced form sees
PLANE = 2                                   # principal components of the codes in which clusters are looked for


def entropies(model: AdvAttr, pack: Pack) -> dict:
    """Part -> head -> mean entropy over ln K, and the mean over all heads that a part should leave unsure."""
    places = {name: place for place, name in enumerate(model.schema.names)}
    with judging(model):
        codes = encoded(model, pack, np.asarray(pack.rows("val")))
        found = entropy_matrix(lambda part, name: model.classifiers(None, [part])[places[name]][0], codes, list(places))
    off = [cell.value for part, row in found.items() for name, cell in row.items() if name != part]
    return {"off_attribute": mean(off).to_json(), "of": {part: {name: cell.to_json() for name, cell in row.items()} for part, row in found.items()}}


def stage(count: int, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Pixels `[count, 12288]` in [0, 1] of one head with every expression in every light, and the labels."""
    chance = np.random.default_rng(seed)
    still = {name: values[0] for name, values in avatars.FACTORS.items()} | {"eyes": "open", "gaze": "centre"}
    labels = {"expression": chance.integers(0, len(SHOWN), count), "light": chance.integers(0, len(LIGHTS), count)}
    pictures = []
    for expression, light in zip(*labels.values(), strict=True):
        mouth, brows = SHOWN[avatars.EXPRESSIONS[expression]]
        pose = {"yaw": chance.uniform(-30, 30), "roll": chance.uniform(-3, 3), "light": LIGHTS[light]}
        pictures.append(avatars.render({**still, "mouth": mouth, "brows": brows, **pose}))
    return np.stack(pictures).reshape(count, -1).astype(np.float32) / 255, labels


def clusters(faces: np.ndarray, labels: dict[str, np.ndarray], dis_weight: float, seeds: int) -> dict:
    """Expression -> Hopkins statistic of held-out codes, averaged over trainings from several seeds, and the mean of all.

    Beside it, under `light`, how often a linear probe tells the light from the expression's code.
    """
    train = len(faces) * 3 // 4
    vectors = PCA(COMPONENTS, svd_solver="randomized", random_state=0).fit(faces[:train]).transform(faces)
    scores: dict[str, list[float]] = {value: [] for value in avatars.EXPRESSIONS}
    told = []
    for seed in range(seeds):
        model = AdvAttrVectors(dis_weight=dis_weight, steps=3_000, seed=seed)
        codes = model.fit(vectors[:train], {name: column[:train] for name, column in labels.items()}).transform(vectors)["expression"]
        for place, value in enumerate(avatars.EXPRESSIONS):
            scores[value].append(hopkins(codes[train:][labels["expression"][train:] == place], dimensions=PLANE).value)
        probe = LogisticRegression(max_iter=500).fit(codes[:train], labels["light"][:train])
        told.append(probe.score(codes[train:], labels["light"][train:]))
    means = {value: mean(of).to_json() for value, of in scores.items()}
    return {"all": mean([s for of in scores.values() for s in of]).to_json(), **means, "light_told": mean(told).to_json()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/five"))
    parser.add_argument("--faces", type=int, default=3_000, help="drawn for the reduced form; a quarter is held out")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of the reduced form")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    pack = Pack(options.runs / "pack")
    faces = stage(options.faces)
    values = {}
    for key, run, weight in (("with_dis", "advattr", 1.0), ("without_dis", "advattr-without-dis", 0.0)):
        model = recombine.load(options.runs / run)
        assert isinstance(model, AdvAttr)
        values[key] = {"entropy": entropies(model, pack), "hopkins": clusters(*faces, weight, options.seeds)}
    record(
        "advattr-entropy",
        "With L_dis other attributes' heads cannot tell anything from a code, and codes of one expression do not cluster.",
        values,
        {"val_pictures": len(pack.rows("val")), "held_out_faces": options.faces // 4, "trainings_of_the_reduced_form": options.seeds},
        settings=f"entropies: the models of five-on-avatars; Hopkins: {COMPONENTS} principal components in, {PLANE} of the codes looked at",
    )
