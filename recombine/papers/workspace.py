"""Where tables are measured: the data that was given, one training for all tables that need the same one, and what was measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from recombine import files
from recombine.data.packed import MANIFEST, Pack
from recombine.data.packing import pack as pack_folder
from recombine.data.schema import Attribute, Schema
from recombine.data.sources.folder import read_source
from recombine.data.synthetic import avatars, sprites
from recombine.evaluation.classifier import Classifier, Settings, judge_classifier
from recombine.messages import shown
from recombine.method import Method
from recombine.papers.table import Kind, Table
from recombine.recipes import default_recipe
from recombine.training.engine import Monitor
from recombine.training.recipe import Recipe, TrainConfig
from recombine.training.runs import load, start

SIZE = 32                                   # pixels of drawn faces and photographs
FACES, SPRITES = 3_000, 4_000               # images drawn
WANTED = {
    "photos": "a folder of labelled photographs, or a pack of one (--data FOLDER)",
    "sheets": "a folder of Liberated Pixel Cup sheets (--data SHEETS)",
    "avatars": "nothing: faces are drawn",
}


@dataclass(frozen=True)
class Given:
    """The data that was named."""

    avatars: Path | None = None             # a pack of drawn faces; None = drawn when needed
    photos: Path | None = None              # a folder of photographs, or a pack
    sheets: Path | None = None

    @staticmethod
    def of(names: Sequence[str | Path]) -> Given:
        """Sort what was named by what it holds.

        Args:
            names: `avatars`, folders of photographs, packs, folders of sprite sheets; at most one of each.

        Raises:
            ValueError: A folder is not there, or two are of one kind.
        """
        found: dict[str, Path] = {}
        for name in names:
            if str(name) == "avatars":
                continue
            kind = kind_of(Path(name))
            if kind in found:
                raise ValueError(f"{found[kind]} and {name} are both {kind}; tables take one of a kind")
            found[kind] = Path(name)
        return Given(**found)

    @cached_property
    def attributes(self) -> tuple[Attribute, ...]:
        """What the photographs are labelled with."""
        if self.photos is None:
            return ()
        return Pack(self.photos).schema.attributes if (self.photos / MANIFEST).exists() else read_source(self.photos).table.attributes

    def missing(self, table: Table) -> str:
        """What a table needs that was not given, in words; empty where nothing is missing."""
        if table.kind == "avatars":
            return ""
        if getattr(self, table.kind) is None:
            return f"it needs {WANTED[table.kind]}" + (f" with {shown(table.attributes)}" if table.attributes else "")
        names = [a.name for a in self.attributes]
        absent = [name for name in table.attributes if name not in names]
        return f"{self.photos} has no labels of {shown(absent)}" if table.kind == "photos" and absent else ""


def kind_of(folder: Path) -> Kind:
    """Whether a folder holds drawn faces, photographs or sprite sheets."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r}; --data takes `avatars`, {WANTED['photos']}, or {WANTED['sheets']}")
    if sprites.is_sheets(folder):
        return "sheets"
    if (folder / MANIFEST).exists() and set(avatars.FACTORS) <= set(Pack(folder).schema.names):
        return "avatars"
    return "photos"


@dataclass
class Workspace:
    """One folder of trainings and measurements; what is there already is not done again."""

    out: Path
    given: Given = field(default_factory=Given)
    images: int | None = None               # seen by every training; the table's own when None
    judge_preset: str | Settings = "quick"  # see judge_classifier
    say: Callable[[str], None] = print
    table: Table | None = None              # that is being measured

    @property
    def seen(self) -> int:
        """Images seen by every training of the table, a pair as two."""
        assert self.table is not None
        return self.images or self.table.images

    @cached_property
    def photos(self) -> Pack:
        """The photographs, packed; a pack is taken as it is."""
        folder = self.given.photos
        assert folder is not None
        if (folder / MANIFEST).exists():
            return Pack(folder)
        return pack_folder(read_source(folder), self.made("packs") / f"photos-{SIZE}", Schema(height=SIZE, width=SIZE))

    @cached_property
    def faces(self) -> Pack:
        """Drawn faces."""
        return Pack(self.given.avatars) if self.given.avatars else avatars.build(self.made("packs") / f"faces-{SIZE}", FACES, SIZE, progress=False)

    @cached_property
    def sheets(self) -> sprites.Sheets:
        """The sprite sheets."""
        assert self.given.sheets is not None
        return sprites.open_sheets(self.given.sheets)

    @cached_property
    def figures(self) -> Pack:
        """Figures drawn from the sheets."""
        folder = self.made("packs") / "sprites"
        return Pack(folder) if (folder / MANIFEST).exists() else sprites.build(folder, self.sheets, SPRITES, progress=False)

    def judge(self, pack: Pack) -> Classifier:
        """The independent classifier of a data set, trained where there is none yet."""
        return judge_classifier(pack, preset=self.judge_preset, progress=self.say)

    def train(self, recipe: Recipe, pack: Pack, monitor: Monitor | None = None) -> Path:
        """The run of a recipe: the one that is there, or a new one; the same recipe on the same data has one folder."""
        chosen = pack.select(*recipe.attributes) if recipe.attributes else pack
        content = {"method": recipe.method, "config": asdict(recipe.config), "train": asdict(recipe.train), "data": chosen.fingerprint}
        key = hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=6).hexdigest()
        run = self.made("runs") / f"{recipe.method}-{key}"
        if not (run / "finished").exists():
            self.say(f"training {recipe.method}, {recipe.train.images:,} images: {run}")
            start(recipe, pack, run, quiet=True, monitor=monitor)
            files.write_text(run / "finished", "")
        return run

    def once(self, run: Path, name: str, measure: Callable[[Method], Any]) -> Any:
        """What was measured on a run, as JSON beside it; measured when it is not there."""
        return self.kept(run, name, lambda: measure(load(run)))

    def kept(self, folder: Path, name: str, measure: Callable[[], Any]) -> Any:
        """The same for what needs no run."""
        path = folder / f"measured-{name}.json"
        if not path.exists():
            self.say(f"measuring {name}: {folder}")
            files.write_text(path, json.dumps(measure(), indent=2))
        return json.loads(path.read_text("utf-8"))

    def made(self, name: str) -> Path:
        """A folder within the workspace's, made if it is not there."""
        folder = self.out / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def brief(recipe: Recipe, images: int, seed: int, **changes: Any) -> Recipe:
    """The recipe with so many images and this seed; averages and logs that suit a short training, and changes of the method's settings."""
    train = replace(
        recipe.train, images=images, seed=seed, ema_images=min(recipe.train.ema_images, images // 20), log_every=max(1, images // 50), evaluate_every=images
    )
    return replace(recipe, config=replace(recipe.config, **changes), train=train)


def baseline(method: str, attributes: tuple[str, ...], size: int, mirror: bool = True) -> Recipe:
    """A method without a recipe of its own: its default settings, in batches of 16."""
    recipe, _ = default_recipe(method)
    return replace(recipe, train=TrainConfig(batch_size=16, mirror=mirror, decay=0.4, ema_images=2_000), size=size, attributes=attributes)
