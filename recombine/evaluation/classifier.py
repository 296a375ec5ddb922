"""The independent classifier of edits: a network that reads every attribute from an image.

It is trained on the training split alone, chosen on whole groups of that split that are held out, and never sees the
method whose edits it classifies. It is kept beside the pack, under a name made of the data's fingerprint, the
attributes and its own settings, so that all methods and runs on the same data have the same classifier.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from warnings import warn

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from recombine import files
from recombine.data.batch import Batch, mix_seed
from recombine.data.packed import Pack
from recombine.data.schema import MISSING, Attribute, Schema
from recombine.data.synthetic.truth import drawn_in
from recombine.metrics.intervals import share
from recombine.metrics.realism import Extractor

READABLE = ("binary", "categorical")
FORMAT = 1  # changes with the network, so that classifiers of another kind are not read


@dataclass(frozen=True)
class Settings:
    """How the classifier is built and trained; part of its name."""

    width: int = 24                         # channels of the first stage; later ones have 2, 4 and 6 times as many
    images: int = 48_000                    # images seen in training at most
    evaluations: int = 8                    # on the held-out part, evenly spread
    batch: int = 64                         # images
    lr: float = 3e-3                        # highest learning rate; a short rise, then a cosine to 0
    decay: float = 0.02                     # weight decay (AdamW)
    dropout: float = 0.1                    # before the heads
    shift: float = 1 / 32                   # largest random shift, of the image's height
    erase: float = 0.0                      # share of images with a random patch painted over
    height: int = 64                        # pixels; every image is brought to it first
    average: float = 0.98                   # weight averaging: share of the average kept at each step
    enough: float = 0.997                   # right on every attribute of the held-out part: stop
    mirrored: bool = True                   # classify an image and its mirror image together where labels allow
    seed: int = 0


QUICK = Settings()
THOROUGH = Settings(width=32, images=100_000, decay=0.05, dropout=0.3, shift=1 / 16, erase=0.3, average=0.995)
PRESETS = {"quick": QUICK, "thorough": THOROUGH}
GOOD = 0.97  # mean accuracy of the quick classifier that makes a thorough one unnecessary
PASSES = 100  # through the training images at most, of a preset: a small data set does not keep its training waiting
SETTLED = 10  # steps after which it can be said how long the others will take


class Classifier(nn.Module):
    """Reads binary and categorical attributes from images `[batch, channels, height, width]` in [-1, 1].

    Raises:
        ValueError: There is no attribute that can be read.
    """

    def __init__(self, schema: Schema, settings: Settings = QUICK):
        super().__init__()
        self.attributes = tuple(a for a in schema.attributes if a.kind in READABLE and a.num_values > 1)
        if not self.attributes:
            needs = "a binary or categorical attribute with two values"
            raise ValueError(f"a classifier needs {needs}; this data set has none")
        self.schema, self.settings = schema, settings
        self.info: dict = {}                # how the training went; saved with the weights
        widths = [settings.width * factor for factor in (1, 2, 4, 6)]
        layers = [_convolution(schema.channels, widths[0], kernel=4)]
        layers += [_convolution(before, after, kernel=3) for before, after in pairwise(widths)]
        self.trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(settings.dropout))
        self.heads = nn.ModuleList(nn.Linear(widths[-1] * 16, a.num_values) for a in self.attributes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(a.name for a in self.attributes)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits `[batch, values]` of every attribute."""
        features = self.trunk(self.sized(images).contiguous(memory_format=torch.channels_last))
        return {name: head(features) for name, head in zip(self.names, self.heads, strict=True)}

    @torch.no_grad()
    def probabilities(self, images: Tensor, chunk: int = 256) -> dict[str, Tensor]:
        """Probabilities `[batch, values]` of every attribute, on the CPU, for any number of images."""
        self.eval()
        device = next(self.parameters()).device
        parts = [self._both_ways(part.to(device).float()) for part in images.split(chunk)]
        return {name: torch.cat([part[name] for part in parts]).cpu() for name in self.names}

    def verdicts(self, images: Tensor, chunk: int = 256) -> dict[str, np.ndarray]:
        """The likeliest value of every attribute: name -> int64 `[batch]`."""
        return {name: likely.argmax(1).numpy() for name, likely in self.probabilities(images, chunk).items()}

    def sized(self, images: Tensor) -> Tensor:
        """The images at the height that the classifier looks at."""
        height, width = images.shape[-2:]
        size = self.settings.height, max(1, round(width * self.settings.height / height))
        if size == (height, width):
            return images
        return F.interpolate(images, size, mode="bilinear", antialias=height > size[0])

    def _both_ways(self, images: Tensor) -> dict[str, Tensor]:
        images = images.clamp(-1, 1)
        seen = {name: logits.softmax(1) for name, logits in self(images).items()}
        if not self.settings.mirrored:
            return seen
        mirrored = {name: logits.softmax(1) for name, logits in self(images.flip(-1)).items()}
        return {a.name: (seen[a.name] + mirrored[a.name][:, _mirror_order(a)]) / 2 for a in self.attributes}


def judge_classifier(
    pack: Pack, folder: str | Path | None = None, preset: str | Settings = "auto", *,
    device: str | torch.device = "cpu", progress: Callable[[str], None] | None = None,
) -> Classifier:  # fmt: skip
    """The classifier of a data set: loaded where there is one, otherwise trained and kept.

    Args:
        pack: The data set; only its "train" rows are used, and all attributes of its folder, also where fewer were
            selected, so that all methods share one classifier.
        folder: Where classifiers are kept; a folder `judge` inside the pack's when None.
        preset: "quick" (about a minute on two cores), "thorough" (several), "auto" (quick, then thorough where quick
            is right on less than 97 % of the held-out part), or settings of your own. Presets see an image 100 times
            at most, and see no mirrored ones of drawn data to which these do not belong.
        device: Where it is trained and used.
        progress: Called with a line of text before one is trained, and at every evaluation.

    Raises:
        ValueError: There is nothing to learn from, or no such preset.
    """
    if isinstance(preset, str) and preset not in (*PRESETS, "auto"):
        raise ValueError(f"no preset {preset!r} of the classifier; there are auto, {', '.join(PRESETS)}")
    pack = pack.whole()
    folder, count = Path(folder) if folder else pack.path / "judge", len(pack.rows("train"))
    drawn = drawn_in(pack)
    presets = {name: bounded(settings, count) for name, settings in PRESETS.items()}
    if drawn is not None and drawn.handed:
        presets = {name: replace(settings, mirrored=False) for name, settings in presets.items()}
    if preset != "auto":
        return _stored(pack, folder, presets[preset] if isinstance(preset, str) else preset, device, progress)
    quick = _stored(pack, folder, presets["quick"], device, progress)
    if quick.info["accuracy"] >= GOOD:
        return quick
    thorough = _stored(pack, folder, presets["thorough"], device, progress)
    return max(quick, thorough, key=lambda classifier: classifier.info["accuracy"])


def bounded(settings: Settings, count: int) -> Settings:
    """The same settings for so many training images, of which each is seen 100 times at most.

    Fewer steps average their weights over a fifth of them at most.
    """
    images = max(settings.batch, PASSES * count)
    if images >= settings.images:
        return settings
    average = min(settings.average, max(0.0, 1 - 5 * settings.batch / images))
    return replace(settings, images=images, average=average)


def feature_extractor(classifier: Classifier) -> Extractor:
    """The classifier's last features, averaged over the image: 144 of a quick one, 192 of a thorough one.

    Where the classifier reads images together with their mirror images, the features are the mean of both.
    """
    convolutions = classifier.trunk[:-3]    # without pooling to 4 x 4, flattening, dropout

    def features(images: Tensor) -> Tensor:
        images = images.clamp(-1, 1).float().to(next(classifier.parameters()).device)
        sides = [images, images.flip(-1)] if classifier.settings.mirrored else [images]
        return torch.stack([convolutions(classifier.sized(side)).mean((2, 3)) for side in sides]).mean(0)

    return Extractor(f"judge, width {classifier.settings.width}, reads {', '.join(classifier.names)}", features)


def accuracies(classifier: Classifier, pack: Pack, rows: np.ndarray, chunk: int = 256) -> dict[str, dict]:
    """How far the classifier itself can be trusted, attribute by attribute, on rows that it never saw.

    Returns:
        Attribute -> accuracy, the share of the most frequent value (what guessing that one would score), and per value
        the share of images that truly have it in which the classifier sees it: the most an edit is expected to score.
    """
    readings, report = _readings(classifier, pack, rows, chunk), {}
    for a in classifier.attributes:
        truth, seen = readings[a.name]
        if not len(truth):
            continue
        recall = {a.values[v]: share(seen[truth == v] == v).to_json() for v in np.unique(truth)}
        majority = float(np.bincount(truth).max() / len(truth))
        report[a.name] = {"accuracy": share(truth == seen).to_json(), "majority": majority, "recall": recall}
    return report


def train_classifier(
    pack: Pack, settings: Settings = QUICK, *, device: str | torch.device = "cpu",
    progress: Callable[[str], None] | None = None,
) -> Classifier:  # fmt: skip
    """Train a classifier on the pack's "train" rows; the same settings and data give the same classifier."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mix_seed(settings.seed, "judge"))
        classifier = Classifier(pack.schema, settings).to(device)
        classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        rows, held_out = _held_out(pack, settings)
        return _Training(classifier, pack, rows, held_out, device, progress or (lambda line: None)).run()


@dataclass
class _Training:
    classifier: Classifier
    pack: Pack
    rows: np.ndarray
    held_out: np.ndarray
    device: str | torch.device
    progress: Callable[[str], None]

    def run(self) -> Classifier:
        settings = self.classifier.settings
        self.rng = np.random.default_rng(mix_seed(settings.seed, "pictures"))
        steps = max(1, settings.images // settings.batch)
        optimizer = torch.optim.AdamW(self.classifier.parameters(), settings.lr, weight_decay=settings.decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.lr, total_steps=steps + 1, pct_start=0.15)
        average = torch.optim.swa_utils.AveragedModel(
            self.classifier, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(settings.average), use_buffers=True
        )
        best: tuple[float, dict, int] | None = None
        looks = set(np.linspace(0, steps, settings.evaluations + 1).round().astype(int)[1:].tolist())
        started = time.monotonic()
        for step, batch in zip(range(1, steps + 1), self._batches(), strict=False):
            self.classifier.train()
            loss = self._loss(batch.to(self.device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(self.classifier)
            if step == SETTLED < steps:
                self.progress(f"classifier: {_left(started, step, steps)}")
            if step in looks:
                right = self._right(average.module)  # type: ignore[arg-type]
                score = float(np.mean(list(right.values())))
                seen = f"{step * settings.batch:,} of {steps * settings.batch:,} images seen"
                left = f", {_left(started, step, steps)}" if step < steps else ""
                self.progress(f"classifier: {seen}, {score:.1%} right of the held-out ones{left}")
                if best is None or score >= best[0]:
                    best = score, {k: v.clone() for k, v in average.module.state_dict().items()}, step
                if min(right.values()) >= settings.enough:
                    break
        assert best is not None
        self.classifier.load_state_dict(best[1])
        seen, held_out = best[2] * settings.batch, len(self.held_out)
        self.classifier.info = {"accuracy": best[0], "images_seen": seen, "kept_aside": held_out}
        return self.classifier.eval()

    def _batches(self) -> Iterator[Batch]:
        settings, waiting = self.classifier.settings, np.empty(0, np.int64)
        while True:
            while len(waiting) < settings.batch:
                waiting = np.concatenate([waiting, self.rng.permutation(self.rows)])
            now, waiting = waiting[: settings.batch], waiting[settings.batch :]
            batch = self.pack.batch(now, mirror=self.rng.random(len(now)) < 0.5)
            yield replace(batch, images=self._moved(batch.images))

    def _moved(self, images: Tensor) -> Tensor:
        """Every image shifted by some pixels, some with a patch painted over."""
        settings, (height, width) = self.classifier.settings, images.shape[-2:]
        reach = min(round(settings.shift * height), height - 1, width - 1)
        padded = F.pad(images, [reach] * 4, mode="reflect") if reach else images
        corners = self.rng.integers(0, 2 * reach + 1, (len(images), 2)).tolist()
        moved = torch.stack([p[:, y : y + height, x : x + width] for p, (y, x) in zip(padded, corners, strict=True)])
        for place in np.flatnonzero(self.rng.random(len(images)) < settings.erase).tolist():
            tall, wide = (max(1, int(side * self.rng.uniform(0.1, 0.4))) for side in (height, width))
            y, x = int(self.rng.integers(0, height - tall + 1)), int(self.rng.integers(0, width - wide + 1))
            moved[place, :, y : y + tall, x : x + wide] = float(self.rng.uniform(-1, 1))
        return moved

    def _loss(self, batch: Batch) -> Tensor:
        logits, terms = self.classifier(batch.images), []
        for name in self.classifier.names:
            known = batch.known[name]
            target = batch.labels[name].masked_fill(~known, 0)
            each = F.cross_entropy(logits[name], target, reduction="none")
            terms.append((each * known).sum() / known.sum().clamp_min(1))
        return torch.stack(terms).sum()

    def _right(self, network: Classifier) -> dict[str, float]:
        """Share of right verdicts on the held-out images, per attribute that is labelled there."""
        readings = _readings(network, self.pack, self.held_out)
        right = {name: float((truth == seen).mean()) for name, (truth, seen) in readings.items() if len(truth)}
        return right or {"nothing labelled": 0.0}


def _stored(pack: Pack, folder: Path, settings: Settings, device, progress) -> Classifier:
    """The classifier with these settings from the folder, or a new one that is then put there."""
    names = [a.name for a in pack.schema.attributes if a.kind in READABLE]
    key = mix_seed(FORMAT, pack.fingerprint, names, pack.schema.image_size, sorted(asdict(settings).items()))
    weights_file, about_file = folder / f"{key:016x}.safetensors", folder / f"{key:016x}.json"
    with suppress(OSError, SafetensorError, json.JSONDecodeError):
        about = json.loads(about_file.read_text("utf-8"))
        classifier = Classifier(Schema.from_json(about["schema"]), Settings(**about["settings"]))
        classifier.load_state_dict(load_file(str(weights_file)))
        classifier.info = about["info"]
        return classifier.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    if progress:
        told = f"training the classifier that judges edits on {settings.images:,} images"
        progress(f"{told}, once for this data set; it is kept in {folder}")
    classifier = train_classifier(pack, settings, device=device, progress=progress)
    about = {"schema": classifier.schema.to_json(), "settings": asdict(classifier.settings), "info": classifier.info}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.state_dict().items()}
    try:
        files.make_folder(folder)
        files.write_bytes(weights_file, save(weights))
        files.write_text(about_file, json.dumps(about, indent=1))
    except OSError as error:
        warn(f"the classifier cannot be kept in {folder} and will be trained again next time: {error}", stacklevel=3)
    return classifier


def _left(started: float, step: int, steps: int) -> str:
    seconds = (time.monotonic() - started) / step * (steps - step)
    return f"about {seconds:.0f} s left" if seconds < 100 else f"about {seconds / 60:.0f} minutes left"


def _readings(
    network: Classifier, pack: Pack, rows: np.ndarray, chunk: int = 256
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Labels and verdicts of every attribute, of the images whose label is known."""
    parts: dict[str, list] = {name: [] for name in network.names}
    for start in range(0, len(rows), chunk):
        batch = pack.batch(rows[start : start + chunk])
        for name, seen in network.verdicts(batch.images).items():
            known = batch.known[name].numpy()
            parts[name].append((batch.labels[name].numpy()[known], seen[known]))
    joined = {name: [np.concatenate(side) for side in zip(*own, strict=True)] for name, own in parts.items()}
    return {name: (truth, seen) for name, (truth, seen) in joined.items()}


def _held_out(pack: Pack, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from and rows to choose by: a tenth of the training rows, at most 2,000, whole groups together."""
    rows = np.asarray(pack.rows("train"))
    if not len(rows):
        raise ValueError("the classifier learns from rows of the split 'train', and this data set has none")
    if len(rows) < 20:
        return rows, rows
    group = next((a.name for a in pack.schema.attributes if a.kind == "group"), None)
    members = np.asarray(pack.labels[group])[rows] if group else rows
    members = np.where(members == MISSING, -2 - np.arange(len(rows)), members)
    order = np.random.default_rng(mix_seed(settings.seed, "aside")).permutation(np.unique(members))
    target, sizes = min(len(rows) // 10, 2000), dict(zip(*np.unique(members, return_counts=True), strict=True))
    chosen = order[: 1 + np.searchsorted(np.cumsum([sizes[m] for m in order]), target)]
    held_out = np.isin(members, chosen)
    return (rows[~held_out], rows[held_out]) if not held_out.all() else (rows, rows)


def _mirror_order(attribute: Attribute) -> list[int]:
    """Where each value's probability stands when the image is mirrored."""
    if attribute.mirror == "negate":
        return [1, 0]
    order = list(range(attribute.num_values))
    for one, other in attribute.mirror if isinstance(attribute.mirror, tuple) else ():
        i, j = attribute.values.index(one), attribute.values.index(other)
        order[i], order[j] = j, i
    return order


def _convolution(channels_in: int, channels_out: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels_out, kernel, stride=2, padding=(kernel - 1) // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU())
