"""Rodi against the authors' PyTorch code: the same losses and the same weights after five steps, in double precision.

    git clone https://github.com/CompVis/robust-disentangling
    python proofs/parity_rodi.py robust-disentangling

Their models, losses and training step are imported from that checkout and run as they are, on random images of 64 px; what
they import besides (edflow) is stood in for. Ours starts from their weights and sees the same images and the same noise, with
preset "sprites". Three times:

`released`: theirs untouched; ours through `AsReleased`, which takes over everything the released code does otherwise.
`repaired`: ours untouched, stepped as the engine steps it; theirs with these things repaired in memory (`repair`).
`neither_changed`: ours and theirs untouched, which must differ; what the six things come to.

What the released code does otherwise, beside the paper and the configuration:
 1. residual blocks overwrite their ReLU, and are linear;
 2. T is stepped before the gradient of the information passes through it, and that gradient uses T's new weights (PyTorch of its
    time allowed this; today's refuses, so their step runs with the check for it off);
 3. the optimiser of the autoencoder also owns T, which therefore descends the information bound, against its own loss;
 4. the decoder that sees the appearance alone trains the appearance encoder, too;
 5. gamma follows averages that are one step old;
 6. T and T' have twice the learning rate, but in the first step only.

Made alike from outside, in both: they draw the pose anew for the decoder, for T and T', and for a third estimator that is trained
and never used; every draw gets the same noise. Their images would be cut to single precision; they are handed over as tensors,
which are not. Pairs show four things, so ours leaves no pair out. Every network of ours has its one of theirs; not mapped are that
third estimator and, in `repaired`, the two decoders that see one code. What is left in gamma, 1e-7, is their 1 - 0.99^n in single
precision.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import torch
from record import record
from torch import Tensor, nn
from torch.autograd.grad_mode import _unsafe_preserve_version_counter as unwatched

from recombine.data.batch import Batch
from recombine.data.schema import Attribute, Schema
from recombine.losses import squared_error
from recombine.method import Progress, Turn
from recombine.methods.rodi import PRESETS, Config, Residual, RoDi, next_gamma

BATCH, SIZE, STEPS = 4, 64, 5
WARM_UP = 2                                 # steps without adversary, lambda and gamma; three more follow
LAMBDA = 5.0                                # at the start, so that the bound is felt although T is untrained yet
NETWORKS = {  # theirs -> ours
    "model.pi_encoder.sub_layers": "pose_encoder",
    "model.al_encoder.sub_layers": "appearance_encoder",
    "model.decoder.sub_layers": "decoder.layers",
    "loss.mi1_estimator.estimator.net1.sub_layers": "mi.pose",
    "loss.mi1_estimator.estimator.net2.sub_layers": "mi.appearance",
    "loss.mi2_estimator.estimator.net1.sub_layers": "mi_measured.pose",
    "loss.mi2_estimator.estimator.net2.sub_layers": "mi_measured.appearance",
}
VISUALISERS = {"model.auxpi_decoder.sub_layers": "pose_visualiser.layers", "model.auxal_decoder.sub_layers": "appearance_visualiser.layers"}
TERMS = {"rec_loss": "rec", "kl_loss": "kl", "loss_mi": "mi", "aux_loss": "aux", "mi1_loss": "T", "mi2_loss": "T'", "mi1_mi": "I_T", "mi2_mi": "I_T'"}
NAMES = {"mi": "T", "mi_measured": "T'"}    # of the terms of our players that have one


def their_modules(folder: Path) -> SimpleNamespace:
    """Their models, iterator and losses, with stand-ins for what these import from edflow."""

    class TemplateIterator:
        def __init__(self, config: dict, model: nn.Module):
            self.config, self.model, self.step = config, model, 0
            self.logger = SimpleNamespace(info=lambda _: None)

        def get_global_step(self) -> int:
            return self.step

    def retrieve(config: Any, key: str, default: Any = None) -> Any:
        for name in key.split("/"):
            if name not in config:
                return default
            config = config[name]
        return config

    def get_obj_from_str(name: str) -> Any:
        return getattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2])

    stubs = {name: ModuleType(name) for name in ("edflow", "edflow.util", "rodi")}
    vars(stubs["edflow"]).update(TemplateIterator=TemplateIterator, get_obj_from_str=get_obj_from_str)
    vars(stubs["edflow.util"]).update(retrieve=retrieve)
    stubs["rodi"].__path__ = [str(folder / "rodi" / "pt")]  # their files name one another rodi.models, rodi.iterator and rodi.losses
    sys.modules |= stubs
    return SimpleNamespace(**{name: importlib.import_module(f"rodi.{name}") for name in ("models", "iterator", "losses")})


def their_trainer(theirs: SimpleNamespace, minimisation: dict) -> Any:
    """Their trainer, without the half of its constructor that loads example images; it is handed tensors."""
    config = {"loss": "rodi.losses.RoDi", "MIMin": minimisation}
    trainer = theirs.iterator.Trainer.__new__(theirs.iterator.Trainer)
    trainer.eval_triplets = False
    theirs.iterator.Iterator.__init__(trainer, config, theirs.models.VAE(config))
    trainer.totorch = lambda images: images
    for estimator in estimators(trainer):
        estimator.optimizer.step = unchecked(estimator.optimizer, estimator.optimizer.step)
    return trainer


def watched(trainer: Any) -> Any:
    """Their trainer, which keeps what its losses logged last as `logged`."""
    trainer.loss.register_forward_hook(lambda _, inputs, __: setattr(trainer, "logged", {name: inputs[-1]["scalars"][name].item() for name in TERMS}))
    return trainer


def estimators(trainer: Any) -> list[Any]:
    """The one that is never used, T and T'."""
    return [trainer.loss.elbo.mi_estimator, trainer.loss.mi1_estimator, trainer.loss.mi2_estimator]


def owned(optimizer: torch.optim.Optimizer) -> tuple[Tensor, ...]:
    """The weights that an optimiser moves."""
    return tuple(weight for group in optimizer.param_groups for weight in group["params"])


def unchecked(optimizer: torch.optim.Optimizer, step: Callable) -> Callable:
    """A step that autograd does not notice, as in PyTorch 1.0."""

    def unnoticed() -> None:
        with unwatched(owned(optimizer)):
            step()

    return unnoticed


def repair(theirs: SimpleNamespace, trainer: Any, stack: ExitStack) -> Callable[[], None]:
    """Take the numbers 1 to 6 out of their trainer; returns what is to be called after each of its steps."""
    late: list[tuple[torch.optim.Optimizer, Callable, list[Tensor]]] = []

    def kept(optimizer: torch.optim.Optimizer, step: Callable) -> Callable:
        return lambda: late.append((optimizer, step, [weight.grad.clone() for weight in owned(optimizer)]))  # type: ignore[union-attr]

    def finish() -> None:
        for optimizer, step, gradients in late:
            for weight, gradient in zip(owned(optimizer), gradients, strict=True):
                weight.grad = gradient
            step()
        late.clear()

    stack.enter_context(mock.patch.object(theirs.models.ResBlock, "forward", lambda block, x: x + block.conv(block.act(x))))      # 1
    for estimator in estimators(trainer):
        estimator.optimizer.step = kept(estimator.optimizer, estimator.optimizer.step)                                            # 2
        stack.enter_context(averaged_at_once(estimator))                                                                          # 5
        estimator.optimizer.param_groups[0]["lr"] = trainer.learning_rate                                                         # 6
    trainer.optimizer = torch.optim.Adam(trainer.model.parameters(), lr=trainer.learning_rate, betas=(0.5, 0.9))                  # 3
    auxal_decode = trainer.model.auxal_decode
    stack.enter_context(mock.patch.object(trainer.model, "auxal_decode", lambda z_al: auxal_decode(z_al.detach())))               # 4
    return finish


def averaged_at_once(estimator: Any) -> Any:
    """Their estimator, which takes its estimate into the average when it makes it, not after the step."""
    forward, update = estimator.forward, estimator.update_ema

    def early(*arguments: Any) -> Any:
        value, train_op = forward(*arguments)
        update("mi", value)
        return value, train_op

    return mock.patch.multiple(estimator, forward=early, update_ema=lambda name, value: name == "mi" or update(name, value))


def their_step(trainer: Any, x_1: Tensor, x_2: Tensor, noise: Tensor, finish: Callable[[], None]) -> dict[str, float]:
    """One step of their trainer: its terms, and lambda and gamma after it."""
    with mock.patch("torch.randn", lambda *_: noise):
        operations = trainer.step_op(trainer.model, examples=[{"image": x_2}, {"image": x_1}])
    operations["train_op"]()
    finish()
    trainer.step += 1
    terms = {ours: trainer.logged[name] for name, ours in TERMS.items()}
    return terms | {"lambda": trainer.loss.lambda_.item(), "gamma": trainer.loss.gamma.item()}


class Linear(Residual):
    """Number 1."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class AsReleased(RoDi):
    """Ours with the numbers 1 to 6 put in."""

    def __init__(self, config: Config, schema: Schema):
        super().__init__(replace(config, visualisers=True), schema)
        for block in self.modules():
            if isinstance(block, Residual):
                block.__class__ = Linear                                                                                          # 1

    def players(self) -> dict[str, list[str]]:
        autoencoder = ["pose_encoder", "appearance_encoder", "decoder", "pose_visualiser", "appearance_visualiser"]
        return {"mi": ["mi"], "mi_measured": ["mi_measured"], "autoencoder": [*autoencoder, "mi"]}                                # 3

    def optimizer(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        made, rate = super().optimizer(player, parameters), self.config.learning_rate
        if player != "autoencoder":
            made.param_groups[0]["lr"] = 2 * rate
            made.register_step_post_hook(lambda optimizer, *_: optimizer.param_groups[0].update(lr=rate))                         # 6
        made.step = unchecked(made, made.step)                                                                                    # 2
        return made

    def turns(self, batch: Batch, progress: Progress) -> Iterator[Turn]:
        autoencoder, mi, mi_measured, _ = super().turns(batch, progress)
        assert batch.partner is not None
        x_2 = batch.partner.images
        pose = self._distribution(x_2).sample(batch.noise("pose", *self.pose_shape)).detach()
        seen = self.pose_visualiser(pose), self.appearance_visualiser(self.appearance_encoder(batch.images))                      # 4
        aux = torch.stack([0.5 * x_2[0].numel() * squared_error(picture, x_2).mean() for picture in seen]).sum()
        silent = {"mi": (0.0, autoencoder.measures["I_T"])}  # during the warm-up theirs has a gradient of zero, which Adam counts
        yield replace(mi, keep_graph=True)  # which the autoencoder descends as well                                              # 2
        yield mi_measured
        yield Turn("autoencoder", {**silent, **autoencoder.losses, "aux": (1.0, aux)}, autoencoder.measures)

    def control(self, measured: dict[str, float], progress: Progress) -> None:
        before = dict(self.controllers)
        super().control(measured, progress)
        if progress.images_seen >= self.config.warmup_images:
            after, self.controllers = self.controllers, before
            self.controllers = {**after, "gamma": next_gamma(before["gamma"], self._gap(), self.config.gamma_rate)}               # 5


def our_step(method: RoDi, optimizers: dict[str, torch.optim.Optimizer], batch: Batch, noise: Tensor, step: int) -> dict[str, float]:
    """One step of ours, turn by turn as the engine does it: its terms, and lambda and gamma after it."""
    progress, found, measured = Progress(images_seen=step * BATCH, images=STEPS * BATCH), {}, {}
    slack = method.controllers["lambda"] / method.config.penalty
    with mock.patch.object(Batch, "noise", lambda *_: noise):
        for turn in method.turns(batch, progress):
            optimizers[turn.player].zero_grad()
            turn.total().backward(inputs=list(owned(optimizers[turn.player])), retain_graph=turn.keep_graph)
            optimizers[turn.player].step()
            measured |= {name: value.item() for name, value in turn.measures.items()}
            found |= {NAMES.get(turn.player, name): value.item() for name, (weight, value) in turn.losses.items() if weight}
    method.control(measured, progress)
    found |= {name: measured[name] for name in ("I_T", "I_T'")}
    if measured["I_T"] - method.config.target < -slack:
        found["mi"] = 0.0                   # theirs; ours is another number there, and neither has a slope
    return {"mi": 0.0, **found, **{name: method.controllers[name] for name in ("lambda", "gamma")}}


def mapped(trainer: Any, networks: dict[str, str]) -> dict[str, Tensor]:
    """Their weights under our names."""
    state = {f"{part}.{key}": value for part in ("model", "loss") for key, value in getattr(trainer, part).named_parameters()}
    return {ours + key.removeprefix(name): value for name, ours in networks.items() for key, value in state.items() if key.startswith(f"{name}.")}


def compare(theirs: SimpleNamespace, ours: type[RoDi], repaired: bool) -> dict:
    """Both for some steps from the same weights: differences of terms and weights, and what was mapped."""
    gc.collect()                            # one pair of models takes 5 GB, and hooks keep the last one until then
    shape = Schema(attributes=(Attribute("thing", "group", tuple("abcd")),), height=SIZE, width=SIZE, channels=3)
    config = replace(PRESETS["sprites"], warmup_images=WARM_UP * BATCH, multiplier=LAMBDA)
    random = torch.Generator().manual_seed(1)
    with ExitStack() as stack:
        torch.manual_seed(0)
        trainer = watched(their_trainer(theirs, {"warmup_it": WARM_UP, "lambda_init": LAMBDA}))
        finish = repair(theirs, trainer, stack) if repaired else lambda: None
        method = ours(config, shape)
        names = NETWORKS | (VISUALISERS if method.config.visualisers else {})
        own, weights = dict(method.named_parameters()), mapped(trainer, names)
        assert own.keys() == weights.keys(), own.keys() ^ weights.keys()
        method.load_state_dict(weights, strict=False)
        start = {name: weight.detach().clone() for name, weight in weights.items()}
        optimizers = {player: method.optimizer(player, [w for n in of for w in getattr(method, n).parameters()]) for player, of in method.players().items()}
        terms: dict[str, list[float]] = {}
        for step in range(STEPS):
            x_1, x_2 = torch.rand(2, BATCH, 3, SIZE, SIZE, generator=random) * 2 - 1
            noise = torch.randn(BATCH, *method.pose_shape, generator=random)
            things, known = {"thing": torch.arange(BATCH)}, {"thing": torch.ones(BATCH, dtype=torch.bool)}
            batch = Batch(x_1, things, known, torch.arange(BATCH), whole=BATCH)
            expected = their_step(trainer, x_1, x_2, noise, finish)
            found = our_step(method, optimizers, replace(batch, partner=replace(batch, images=x_2)), noise, step)
            for name in found:
                terms.setdefault(name, []).append(abs(found[name] - expected[name]) / max(abs(found[name]), abs(expected[name]), 1e-300))
    theirs_in_all = sum(w.numel() for part in (trainer.model, trainer.loss) for w in nn.Module.parameters(part))
    return {
        "loss_difference": max(values[0] for name, values in terms.items()),
        "parameter_difference": largest((own[name] - weights[name], weights[name]) for name in own),
        "parameter_difference_of_the_way": largest((own[name] - weights[name], weights[name] - start[name]) for name in own),
        "terms": terms,
        "mapped": {"networks": len(names), "tensors": len(own), "numbers": sum(w.numel() for w in own.values())},
        "theirs_not_mapped": theirs_in_all - sum(w.numel() for w in own.values()),
    }


def largest(pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Of all tensors, the largest error over the largest number of that tensor."""
    return max((error.abs().max() / of.abs().max()).item() for error, of in pairs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="checkout of github.com/CompVis/robust-disentangling")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_default_dtype(torch.float64)
    with mock.patch("torch.cuda.is_available", lambda: False):
        theirs = their_modules(options.folder)
        variants = {
            name: compare(theirs, ours, repaired)
            for name, ours, repaired in (("released", AsReleased, False), ("repaired", RoDi, True), ("neither_changed", RoDi, False))
        }
        equal = [variants[name] for name in ("released", "repaired")]
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=options.folder, capture_output=True, text=True, check=True).stdout.strip()
        record(
            "parity-rodi",
            "From the same weights, images and noise, rodi takes the steps of the authors' PyTorch code: as released, and with its errors repaired.",
            {
                "loss_difference": max(of["loss_difference"] for of in equal),
                "parameter_difference": max(of["parameter_difference"] for of in equal),
                **variants,
            },
            {"steps": STEPS, "steps_with_adversary": STEPS - WARM_UP, "pairs": BATCH, "pixels": SIZE, "parameters": equal[0]["mapped"]["numbers"]},
            theirs={"repository": "https://github.com/CompVis/robust-disentangling", "commit": commit},
            settings=f"float64, preset sprites, warm-up of {WARM_UP} steps, lambda {LAMBDA} at the start; differences are relative, weights' to the largest of their tensor",
        )
