"""Settings that find themselves: what is trained on a folder where no method is named, and why.

They are chosen from what is there, by the constants below; with every choice comes a sentence that says it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal, NamedTuple

from recombine.data.packed import Pack
from recombine.data.schema import Attribute
from recombine.data.sources.labels import training_table
from recombine.data.sources.source import FEW
from recombine.messages import option, printable, shown
from recombine.methods import METHODS
from recombine.recipes import DEFAULT, default_recipe
from recombine.training.recipe import Recipe
from recombine.training.settings import preset

Device = Literal["cpu", "cuda"]

SIZES = (32, 64, 128)                       # pixels, height and width: powers of two, as networks halve them
LARGEST = {"cpu": 64, "cuda": 128}          # of them; twice the size takes four times as long for each image
BATCH = {"cpu": 16, "cuda": 32}             # images; fewer leave a GPU idle, and give a CPU more steps in its time
MINUTES = {"cpu": 45.0, "cuda": 10.0}       # a GPU sees more images in less time
PASSES = 200.0                              # through the training images at most: a small set has little more to tell
SMALL = 2_000                               # training images below which networks are narrower, so as to memorise less
EVALUATIONS = 10                            # of a training; the best is kept, and some in a row end it early
MANY = 8                                    # attributes beyond which it is said that fewer are learnt better
PACE = 100.0                                # images/s at 64 pixels on two cores, roughly: how much evaluations may take
APART = 12_000                              # images that critic and autoencoder need apart before edits begin well ...
APART_MOST = 0.25                           # ... but as a share of those of the game at most this
QUALITY: Mapping[int, float] = {}           # training images -> share of swaps that succeed after the time on a CPU


@dataclass(frozen=True)
class Facts:
    """What decides on the settings."""

    images: int                             # for training
    size: tuple[int, int]                   # height and width that they have been brought to, pixels
    attributes: tuple[Attribute, ...]       # that the method can use
    counts: Mapping[str, Sequence[int]]     # of each: training images of every value; of a number, those with one
    device: Device
    cores: int = 1


class Choice(NamedTuple):
    """A setting that was chosen, and a sentence that says what and why."""

    setting: str
    sentence: str


def facts_of(pack: Pack, device: Device, cores: int, names: Sequence[str] = ()) -> Facts:
    """The facts of a data set; of all attributes that the default method can use, unless some are named.

    Raises:
        KeyError: The data set has no such attribute.
    """
    kinds = METHODS[DEFAULT][0].kinds
    names = names or [a.name for a in pack.schema.attributes if a.kind in kinds]
    table = training_table(pack, names)
    counts = {name: tuple(table.counts(name).values()) or (int(table.known(name).sum()),) for name in names}
    return Facts(len(table), pack.schema.image_size, table.attributes, counts, device, cores)


def choose_size(sides: Sequence[int], device: Device) -> tuple[int, Choice]:
    """Pixels to train at, height and width.

    Args:
        sides: The shorter sides of some of the images, pixels.
        device: What it is trained on.
    """
    usual, largest = median(sides) if sides else LARGEST[device], LARGEST[device]
    size = max([size for size in SIZES if size <= min(usual, largest)], default=SIZES[0])
    more = option("size", str(2 * size))
    costs, larger = f"{more} takes four times as long for each image", f"{more} makes them larger"
    suits = f"as many as suit {named(device)}; {costs}"
    fits = f"as half of the images have no more than {usual:g}; {larger}"
    return size, Choice("size", f"{size} pixels, {suits if size == largest else fits}")


def choose(facts: Facts, images: int = 0, minutes: float = 0.0) -> tuple[Recipe, list[Choice]]:
    """What is trained, and every choice that was made.

    Args:
        facts: What is there.
        images: To be seen in all, where that was asked for.
        minutes: To train in, where they were asked for.
    """
    base, _ = default_recipe(DEFAULT)
    attributes, choices = choose_attributes(facts)
    small, device = facts.images < SMALL, named(facts.device)
    name, why = ("small", f"fewer than {SMALL:,}") if small else ("photos", f"at least {SMALL:,}")
    choices.append(Choice("preset", f"preset {name}, as there are {why} training images"))
    batch = BATCH[facts.device]
    choices.append(Choice("batch_size", f"batches of {batch} images, which suit {device}"))
    asked = bool(images or minutes)
    minutes = minutes if asked else MINUTES[facts.device]
    if minutes:
        bound = f"{PASSES:g} passes through the training images ({PASSES * facts.images:,.0f} images)"
        first = f"{option('minutes', '5')} for a first look"
        choices.append(Choice("minutes", f"{minutes:g} minutes, or {bound} where these take less; {first}"))
    train = replace(
        base.train, images=images or base.train.images, minutes=minutes, passes=PASSES, batch_size=batch, keep="best",
        plateau_images=1,                   # as soon as several evaluations show it
        evaluations=EVALUATIONS, evaluate_every=evaluate_every(facts, images, minutes),
    )  # fmt: skip
    level = "the training ends early where several in a row show no better edits"
    choices.append(Choice("keep", f"the best model of {EVALUATIONS} evaluations is kept, and {level}"))
    if not asked and (quality := expectation(facts)):
        choices.append(Choice("quality", quality))
    config = preset(DEFAULT, name)
    if images or facts.device == "cpu":
        expected = images or expected_images(facts, minutes)
        share = min(APART_MOST, max(config.apart_share, round(APART / expected, 2)))
        if share > config.apart_share:
            apart = f"critic and autoencoder first learn apart, for {share:.0%} as many images as together"
            choices.append(Choice("apart_share", f"{apart}, as a training of some {expected:,.0f} images is short"))
            config = replace(config, apart_share=share)
    return replace(base, config=config, train=train, size=facts.size[0], attributes=attributes), choices


def choose_attributes(facts: Facts) -> tuple[tuple[str, ...], list[Choice]]:
    """The attributes to learn: all but those with values that hardly an image shows, unless that leaves none."""
    rare, lone = {}, {}
    for attribute in facts.attributes:
        name, counts = printable(attribute.name), facts.counts[attribute.name]
        if attribute.kind == "group":
            sizes = [count for count in counts if count]
            if 2 * sizes.count(1) > len(sizes) or len(sizes) < 2:
                lone[attribute.name] = f"{name} ({sizes.count(1):,} of {len(sizes):,})"
        elif min(counts) < FEW:
            values = attribute.values or ("known",)
            few = [f"{printable(value)} {count}" for value, count in zip(values, counts, strict=True) if count < FEW]
            rare[attribute.name] = f"{name} ({shown(few, 4)})"
    taken = [a for a in facts.attributes if a.name not in rare and a.name not in lone]
    if not taken:
        every = tuple(a.name for a in facts.attributes)
        few = "though hardly an image shows some of their values"
        return every, [Choice("attributes", f"attributes: {shown(list(map(printable, every)))}, {few}")]
    names = tuple(a.name for a in taken)
    listed = shown(list(map(printable, names)))
    sentences = [f"attributes: {listed}; {option('attributes', 'A,B')} names those to learn"]
    if rare:
        why = f"as fewer than {FEW} training images show a value"
        sentences.append(f"left out, {why}: {shown(list(rare.values()))}")
    if lone:
        sentences.append(f"left out, as most of their groups have one training image: {shown(list(lone.values()))}")
    if (labels := sum(a.kind in ("binary", "categorical") for a in taken)) > MANY:
        sentences.append(f"{labels} attributes with labels are many: fewer are learnt better in the same time")
    return names, [Choice("attributes", sentence) for sentence in sentences]


def evaluate_every(facts: Facts, images: int, minutes: float) -> int:
    """Images between two evaluations, where they are known beforehand; where a time is given, roughly."""
    if not minutes:
        return -(-images // EVALUATIONS)
    if facts.device == "cuda":              # which can afford as many images as an evaluation looks at
        return default_recipe(DEFAULT)[0].train.evaluate_every
    return max(1, round(expected_images(facts, minutes) / EVALUATIONS))


def expected_images(facts: Facts, minutes: float) -> float:
    """Images that a CPU sees in that time, roughly."""
    height, width = facts.size
    return min(60 * minutes * PACE * 64**2 / (height * width), PASSES * facts.images)


def expectation(facts: Facts) -> str | None:
    """What to expect of so many images, by what was measured on a CPU; None where nothing was."""
    measured = [count for count in QUALITY if count <= facts.images]
    if facts.device != "cpu" or not measured:
        return None
    count = max(measured)
    return f"where it was measured, {QUALITY[count]:.0%} of swaps succeeded with {count:,} training images"


def headline(recipe: Recipe, facts: Facts) -> str:
    """What is trained, on what, and for how long, in a line."""
    height, width = facts.size
    count = len(recipe.attributes)
    images = f"{facts.images:,} training images of {height} x {width} pixels"
    what = f"{recipe.method} on {images}, {count} attribute{'s' * (count != 1)}"
    cores = f" ({facts.cores} core{'s' * (facts.cores != 1)})" if facts.device == "cpu" else ""
    if recipe.train.minutes:
        first = "how many images these suffice for is measured first"
        return f"{what}: at most {recipe.train.minutes:g} minutes of training on {named(facts.device)}{cores}; {first}"
    return f"{what}: {recipe.train.images:,} images of training on {named(facts.device)}{cores}"


def named(device: Device) -> str:
    """The device in a sentence."""
    return {"cpu": "this CPU", "cuda": "this GPU"}[device]
