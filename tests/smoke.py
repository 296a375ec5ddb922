"""What a fresh installation can do: train for two steps on a handful of synthetic faces, edit one of them, and judge.

    python tests/smoke.py FOLDER

It uses the installed package alone, so it is run outside the checkout, by an environment that has nothing but the wheel.
"""

import subprocess
import sys
from pathlib import Path

import recombine as rc
from recombine.data.synthetic import avatars
from recombine.evaluation.classifier import Settings, train_classifier
from recombine.evaluation.judge import judge

TINY = ("width=4", "num_latents=4", "aux_width=8")
CLASSIFIER = Settings(width=4, height=16, images=64, evaluations=1)


def recombine(*arguments: object) -> str:
    """What a command prints."""
    return subprocess.run(
        [sys.executable, "-m", "recombine", *map(str, arguments)], capture_output=True, text=True, check=True
    ).stdout


def main(folder: Path) -> None:
    """Everything once; an error ends it."""
    home = Path(rc.__file__).parent
    assert "site-packages" in home.parts, f"{home} is not an installation"
    assert "recombine train" in recombine("--help")

    pack = avatars.build(folder / "pack", count=240, size=32, workers=1, progress=False)
    settings = [text for pair in TINY for text in ("--set", pair)]
    run = folder / "run"
    recombine(
        "train", folder / "pack", "--method", "ifcvaegan", "--attributes", "glasses,mouth", "--images", 16, "--batch-size", 8,
        "--judge", "none", "--out", run, *settings,
    )  # fmt: skip

    rows = pack.rows("val")
    rc.save_images(pack.batch(rows[:1]).images, folder / "face.png")
    recombine("edit", "set", run, folder / "face.png", "--label", "glasses=round", "--out", folder / "edited.png")
    assert rc.read_images(folder / "edited.png", size=(32, 32)).shape == (1, 3, 32, 32)

    classifier = train_classifier(pack, CLASSIFIER)
    judgement = judge(rc.load(run), pack, classifier=classifier, images=24, sections={"reconstruction", "edits"})
    assert judgement.to_json()["reconstruction"]
    print(f"recombine {rc.__version__} in {home}, Python {sys.version.split()[0]}: trained, edited and judged")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
