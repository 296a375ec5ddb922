"""Five methods and the papers' baselines on the built-in avatars under one budget: success, damage, leakage, and what it costs.

    OMP_NUM_THREADS=1 python proofs/compare_avatars.py --shard 1/2 &
    OMP_NUM_THREADS=1 python proofs/compare_avatars.py --shard 2/2 & wait
    python proofs/compare_avatars.py --report

Every method sees the same number of images of the same 8,000 avatars at 32 px, a pair counting as two, with three seeds.
Those with labels learn expression, lighting, glasses and hair colour; those with pairs learn from two images of one clip;
all are judged on these four. The comparison is `recombine compare`'s own: `runs/compare-avatars` has its page, and an
interrupted call goes on. Methods between two domains are listed with the reason why they cannot take part.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from recombine.comparison.compare import Budget, Judging, compare
from recombine.comparison.page import report
from recombine.data.synthetic import avatars
from recombine.files import check_writable
from recombine.locks import waiting
from recombine.methods import METHODS, presets

ATTRIBUTES = ("expression", "lighting", "glasses", "hair_color")
OURS = ("advattr", "mad", "ifcvaegan", "rodi", "matdr")
BASELINES = (  # ifcvaegan without its auxiliary network is the paper's naive cVAE-GAN
    "stargan", "fader", "dnagan", "icgan", "cvaegan", "ifcvaegan:aux_weight=0", "betavae", "dipvae", "dipvae:small-ii", "cyclevae", "twostep", "drnet",
    "cyclegan", "pix2pix",
)  # fmt: skip
SHOWN = ("success", "kept", "psnr_db", "leakage", "reconstruction_db", "information", "mig", "sap", "dci", "frechet")


def known(label: str) -> bool:
    """Whether there are such a method and such a preset."""
    name, _, preset = label.partition(":")
    return name in METHODS and (not preset or "=" in preset or preset in presets(name))


def values(content: dict) -> dict:
    """Method -> its numbers, each with interval and seeds, and whether it is Pareto-optimal."""
    found = {}
    for method, row in content["data"]["avatars"]["methods"].items():
        numbers = {name: short(row["metrics"][name]) for name in SHOWN if name in row["metrics"]}
        seconds = {stage: {key: round(value, 1) for key, value in cost.items()} for stage, cost in row["seconds"].items()}
        found[method] = {**numbers, "seconds": seconds, "parameters": row["parameters"], "front": row["front"]}
    return found


def short(entry: dict) -> dict:
    """A number with interval, rank and seeds, to five decimals."""
    rounded = {name: round(entry[name], 5) for name in ("value", "low", "high")}
    return {**rounded, "rank": entry["rank"], "seeds": entry["seeds"], "n": entry["n"]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/compare-avatars"))
    parser.add_argument("--images", type=int, default=12_000, help="seen by every run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--judge-pictures", type=int, default=400)
    parser.add_argument("--methods", default=",".join((*OURS, *BASELINES)), help="separated by commas")
    parser.add_argument("--shard", default="1/1", help="I/N: work on every N-th run alone, from the I-th")
    parser.add_argument("--retry", action="store_true", help="work again on what failed")
    parser.add_argument("--report", action="store_true", help="train nothing; write the page and results/compare-avatars.json")
    options = parser.parse_args()
    torch.set_num_threads(1)

    methods = [label for label in options.methods.split(",") if known(label)]
    first, last = map(int, options.shard.split("/"))
    if not options.report:
        check_writable(options.out)
        with waiting(options.out / "data.claim"):
            pack = avatars.build(options.out / "data" / "avatars", 8_000, 32)
        compare(
            options.out, {"avatars": pack}, methods, budget=Budget(images=options.images), attributes=ATTRIBUTES, seeds=options.seeds,
            judging=Judging(options.judge_pictures), shard=(first, last), retry=options.retry, command="python proofs/compare_avatars.py",
            progress=lambda line: print(line, flush=True),
        )  # fmt: skip
        raise SystemExit
    from record import record

    content = json.loads(report(options.out).with_name("report.json").read_text())
    data, plan = content["data"]["avatars"], content["plan"]
    record(
        "compare-avatars",
        "Under one budget of images, who succeeds, who damages, who leaks: five methods beside the papers' baselines.",
        values(content),
        {"seeds": len(plan["seeds"]), "judged_pictures": plan["judging"]["pictures"], "training_pictures": data["pictures"]["train"], "pictures_seen": plan["budget"]["images"]},
        absent=data["absent"],
        not_measured={method: row["missing"] for method, row in data["methods"].items() if row["missing"]},
        settings={method: about["from"] for method, about in plan["settings"]["avatars"].items() if "from" in about},
        intervals=content["intervals"],
        ranks=content["ranks"],
    )
