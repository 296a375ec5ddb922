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

import torch
from record import record

import recombine
from recombine.data.packed import Pack
from recombine.methods.advattr import AdvAttr
from recombine.papers.advattr import COMPONENTS, PLANE, cluster_statistics, draw_light_stage, posterior_entropies

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/five"))
    parser.add_argument("--faces", type=int, default=3_000, help="drawn for the reduced form; a quarter is held out")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of the reduced form")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    pack = Pack(options.runs / "pack")
    faces, labels = draw_light_stage(options.faces)
    values = {}
    for key, run, weight in (("with_dis", "advattr", 1.0), ("without_dis", "advattr-without-dis", 0.0)):
        model = recombine.load(options.runs / run)
        assert isinstance(model, AdvAttr)
        hopkins = cluster_statistics(faces, labels, weight, options.seeds)
        values[key] = {"entropy": posterior_entropies(model, pack), "hopkins": hopkins}
    record(
        "advattr-entropy",
        "With L_dis other attributes' heads cannot tell anything from a code, and codes of one expression do not cluster.",
        values,
        {"val_pictures": len(pack.rows("val")), "held_out_faces": options.faces // 4, "trainings_of_the_reduced_form": options.seeds},
        settings=f"entropies: the models of five-on-avatars; Hopkins: {COMPONENTS} principal components in, {PLANE} of the codes looked at",
    )
