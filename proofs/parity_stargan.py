"""StarGAN against its authors' own training, number by number: seconds.

    git clone https://github.com/yunjey/stargan
    python proofs/parity_stargan.py stargan

Their `Solver.train()` and our engine train the same networks from the same weights in double precision, on the same images,
labels, permutations and interpolation shares; every loss of every step and all weights at the end are compared, and images
that the trained generators repaint. They do so in training mode, where instance normalisation ignores the running averages
that it keeps; ours keeps and uses them only when asked, and one run compares these, too. A last run tells theirs another
weight, to show that this would be seen. Their code is read from the folder and stays there.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from record import record
from torch import Tensor

from recombine.data.batch import Batch
from recombine.data.packed import Pack, write_pack
from recombine.data.schema import Attribute, Schema
from recombine.methods.stargan import Config, StarGAN
from recombine.training.engine import TrainConfig, Training, launch

SIZE, WIDTH, BLOCKS, BATCH, STEPS = 64, 8, 2, 6, 5
NEVER = 10**9                               # steps between two things that they are not to do
FORMS = {  # their name of a data set -> our attributes: labels one by one, or one of several values
    "CelebA": tuple(Attribute(name, "binary", ("0", "1")) for name in ("black", "blond", "brown", "male", "young")),
    "RaFD": (Attribute("expression", "categorical", tuple("abcdefgh")),),
}
NAMES = {  # their networks' layers, in the order in which ours come
    "generator": ("G", {"layers.": "main.", ".layers.": ".main."}),
    "critic": ("D", {"trunk.": "main.", "real.": "conv1.", "label.": "conv2."}),
}
TERMS = {  # our name of a term -> theirs, added up
    "critic/adv": ("D/loss_real", "D/loss_fake"), "critic/class": ("D/loss_cls",), "critic/gp": ("D/loss_gp",),
    "generator/adv": ("G/loss_fake",), "generator/class": ("G/loss_cls",), "generator/rec": ("G/loss_rec",),
}  # fmt: skip


def make_pack(folder: Path, attributes: tuple[Attribute, ...]) -> Pack:
    """Images of noise with random labels."""
    rng, count = np.random.default_rng(0), BATCH * STEPS
    labels = {a.name: rng.integers(0, a.num_values, count) for a in attributes}
    images = rng.integers(0, 256, (count, 3, SIZE, SIZE), dtype=np.uint8)
    return write_pack(folder, images, Schema(attributes, SIZE, SIZE), [f"{i}.png" for i in range(count)], labels, ["train"] * count)


def train_ours(method: StarGAN, pack: Pack, run: Path) -> tuple[list[dict[str, float]], list[Batch]]:
    """Five steps of our engine: the losses of each, and the batches that it drew."""
    course = TrainConfig(images=BATCH * STEPS, batch_size=BATCH, precision="64-true", mirror=False)
    training, losses, batches = Training(launch(course), method, pack, course, run, {}, quiet=True), [], []
    for _ in range(STEPS):
        batches.append(training.reader.batch(training.state.images_seen))
        training.step()
        losses.append(training.meter.take())
    return losses, batches


class Log:
    """Stands for their logger."""

    def __init__(self, folder: str):
        self.steps: list[dict[str, float]] = []

    def scalar_summary(self, tag: str, value: float, step: int) -> None:
        """Keep a value; steps count from 1."""
        self.steps += [{} for _ in range(step - len(self.steps))]
        self.steps[step - 1][tag] = value


def import_theirs(folder: Path) -> types.ModuleType:
    """Their solver, without what it saves images with and without tensorboard."""
    stubs = {name: types.ModuleType(name) for name in ("torchvision", "torchvision.utils", "logger")}
    stubs["torchvision.utils"].save_image = None  # type: ignore[attr-defined]
    stubs["logger"].Logger = Log  # type: ignore[attr-defined]
    sys.modules.update(stubs)
    sys.path.insert(0, str(folder))
    import solver  # type: ignore[import-not-found]

    return solver


def their_solver(solver: types.ModuleType, form: str, config: Config, loader: object, **course: object) -> Any:
    """Their solver for the networks, losses and learning rates of a configuration of ours, without logs and files.

    `form` is one of FORMS, `loader` what they take batches from; `course` are `num_iters`, `batch_size` and others of theirs.
    """
    attributes = FORMS[form]
    settings = {
        "c_dim": sum(1 if a.kind == "binary" else a.num_values for a in attributes), "c2_dim": 0, "image_size": SIZE,
        "g_conv_dim": config.width, "d_conv_dim": config.critic_width, "g_repeat_num": config.blocks, "d_repeat_num": 5,
        "lambda_cls": config.class_weight, "lambda_rec": config.rec_weight, "lambda_gp": config.gp_weight, "n_critic": config.critic_steps,
        "dataset": form, "num_iters_decay": 0, "resume_iters": None, "test_iters": None,
        "g_lr": config.learning_rate, "d_lr": config.learning_rate, "beta1": 0.5, "beta2": 0.999,
        "selected_attrs": [a.name for a in attributes], "use_tensorboard": False, "log_step": NEVER,
        "sample_step": NEVER, "model_save_step": NEVER, "lr_update_step": NEVER,
        **dict.fromkeys(("log_dir", "sample_dir", "model_save_dir", "result_dir"), ""), **course,
    }  # fmt: skip
    return solver.Solver(loader, loader, types.SimpleNamespace(**settings))


def train_theirs(solver: types.ModuleType, form: str, config: Config, weights: dict[str, dict[str, Tensor]], batches: list[Batch]):
    """Their own training on our batches from our weights; returns their solver afterwards."""
    columns = [torch.stack([b.labels[a.name] for a in FORMS[form]], 1) for b in batches]
    labels = [column.double() if form == "CelebA" else column[:, 0] for column in columns]
    loader = First([(batch.images, y) for batch, y in zip(batches, labels, strict=True)])
    theirs = their_solver(solver, form, config, loader, batch_size=BATCH, num_iters=STEPS, use_tensorboard=True, log_step=1)
    for network, own in weights.items():
        getattr(theirs, network).load_state_dict(own, strict=False)
    orders, shares = ([draw(batch) for batch in batches] for draw in (order, share))
    with mock.patch("torch.randperm", side_effect=orders), mock.patch("torch.rand", side_effect=shares):
        theirs.train()
    return theirs


class First:
    """Their loader: one batch that they look at before the training, and then all of them."""

    def __init__(self, batches: list):
        self.batches = batches

    def __iter__(self) -> Iterator:
        return iter([self.batches[0], *self.batches])


def order(batch: Batch) -> Tensor:
    """The order in which our method deals out labels."""
    return batch.uniform("order").argsort()


def share(batch: Batch) -> Tensor:
    """The share of the real image in theirs is what is left of the painted one's in ours."""
    return 1 - batch.uniform("between").reshape(-1, 1, 1, 1)


def as_theirs(method: StarGAN) -> dict[str, dict[str, Tensor]]:
    """Our weights under their names."""
    renamed = {}
    for ours, (theirs, names) in NAMES.items():
        state = getattr(method, ours).state_dict()
        for old, new in names.items():
            state = {new + key.removeprefix(old) if key.startswith(old) else key.replace(old, new): value for key, value in state.items()}
        renamed[theirs] = {key: value.detach().clone() for key, value in state.items()}
    return renamed


def apart(ours: Tensor | float, theirs: Tensor | float) -> float:
    """Relative difference, of tensors as the largest one over the largest entry."""
    a, b = torch.as_tensor(ours, dtype=torch.float64), torch.as_tensor(theirs, dtype=torch.float64)
    return ((a - b).abs().max() / b.abs().max().clamp(min=1e-12)).item()


def compare(solver: types.ModuleType, form: str, folder: Path, config: Config, told: Config | None = None) -> dict:
    """One training by both: differences of every term, of everything in the networks afterwards, and of repainted images."""
    pack = make_pack(folder / "pack", FORMS[form])
    torch.manual_seed(0)
    method = StarGAN(config, pack.schema).double()
    start = as_theirs(method)
    ours, batches = train_ours(method, pack, folder / "run")
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = train_theirs(solver, form, told or config, start, batches)
    end, labels = as_theirs(method), torch.eye(theirs.c_dim)[torch.arange(BATCH) % theirs.c_dim]
    pairs = [(end[net][key], value) for net in end for key, value in getattr(theirs, net).state_dict().items() if key in end[net]]
    method.eval()
    theirs.G.train(not config.running_statistics)
    with torch.no_grad():
        painted = apart(method.generator(batches[0].images, labels), theirs.G(batches[0].images, labels))
    moved = min((end[net][key] - start[net][key]).abs().max().item() for net in end for key, _ in getattr(theirs, net).named_parameters())
    return {
        "terms": {name: term(name, ours, theirs.logger.steps) for name in TERMS},
        "parameters": max(apart(*pair) for pair in pairs), "tensors": len(pairs), "least_moved": moved, "repainted": painted,
    }  # fmt: skip


def term(name: str, ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> dict:
    """Relative difference of a loss in the first step that has it and the largest one, and its first value."""
    parts = TERMS[name]
    assert [name in step for step in ours] == [parts[0] in step for step in theirs], f"{name} is not descended in the same steps"
    steps = [(own[name], sum(log[part] for part in parts)) for own, log in zip(ours, theirs, strict=True) if name in own]
    return {"first": apart(*steps[0]), "largest": max(apart(*step) for step in steps), "steps": len(steps), "value": steps[0][1]}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    torch.set_default_dtype(torch.float64)
    solver, small = import_theirs(folder), Config(width=WIDTH, blocks=BLOCKS, critic_width=WIDTH)
    every = replace(small, critic_steps=1)
    courses = {f"{form}, n_critic {config.critic_steps}": (form, config, None) for form in FORMS for config in (small, every)}
    courses["CelebA, n_critic 1, running averages"] = ("CelebA", replace(every, running_statistics=True), None)
    courses["control"] = ("CelebA", every, replace(every, rec_weight=9.0))
    with tempfile.TemporaryDirectory() as name:
        runs = {course: compare(solver, form, Path(name) / course, config, told) for course, (form, config, told) in courses.items()}
    control = runs.pop("control")
    record(
        "parity-stargan",
        "Our StarGAN is its authors': the same losses at step 1, and the same weights after 5 steps of their own training loop.",
        {
            "loss_difference": max(t["first"] for run in runs.values() for t in run["terms"].values()),
            "parameter_difference": max(run["parameters"] for run in runs.values()),
            "repainted_difference": max(run["repainted"] for run in runs.values()),
            "parameter_difference_where_lambda_rec_is_9_and_not_10": control["parameters"],
            "runs": runs,
        },
        {"runs": len(runs), "steps": STEPS, "batch": BATCH, "tensors_compared": sum(run["tensors"] for run in runs.values())},
        their_commit=subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip(),
        asked={"loss_difference": 1e-6, "parameter_difference": 1e-5},
        settings=f"{SIZE} px, width {WIDTH}, {BLOCKS} residual blocks, float64 on the CPU; differences are relative, of tensors over the largest entry",
    )
