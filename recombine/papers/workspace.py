"""Where tables are measured: the given data, one training for all tables that need the same one, the measurements."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from recombine import files
from recombine.data.packed import Pack, is_pack
from recombine.data.packing import pack as pack_folder
from recombine.data.schema import Attribute, Schema
from recombine.data.sources.folder import read_source
from recombine.data.synthetic import avatars, sprites
from recombine.evaluation.classifier import Classifier, Settings, judge_classifier
from recombine.evaluation.judgement import plain, structured
from recombine.method import Method
from recombine.metrics.intervals import Estimate
from recombine.recipes import default_recipe
from recombine.training.engine import Monitor
from recombine.training.recipe import Recipe, TrainConfig
from recombine.training.runs import load, start

Kind = Literal["avatars", "photos", "sheets"]

SIZE = 32                                   # pixels of synthetic faces and photographs
FACES, SPRITES = 3_000, 4_000               # synthetic images
DATA: dict[Kind, str] = {
    "photos": "a folder of labelled photographs, or a pack of one (--data FOLDER)",
    "sheets": "a folder of Liberated Pixel Cup sheets (--data SHEETS)",
    "avatars": "nothing: faces are synthetic",
}


@dataclass(frozen=True)
class DataFolders:
    """The given data, at most one folder of each kind."""

    avatars: Path | None = None             # a pack of synthetic faces; None = made when needed
    photos: Path | None = None              # a folder of photographs, or a pack
    sheets: Path | None = None

    @staticmethod
    def sort(names: Sequence[str | Path]) -> DataFolders:
        """Sort `avatars` (nothing is given for it) and folders by what they hold, at most one of each kind.

        Raises:
            ValueError: A folder does not exist, or two are of one kind.
        """
        found: dict[str, Path] = {}
        for name in names:
            if str(name) == "avatars":
                continue
            kind = kind_of(Path(name))
            if kind in found:
                raise ValueError(f"{found[kind]} and {name} are both {kind}; tables take one of a kind")
            found[kind] = Path(name)
        return DataFolders(**found)

    @cached_property
    def attributes(self) -> tuple[Attribute, ...]:
        """The labels of the photographs."""
        if self.photos is None:
            return ()
        packed = is_pack(self.photos)
        return Pack(self.photos).schema.attributes if packed else read_source(self.photos).table.attributes


def kind_of(folder: Path) -> Kind:
    """Whether a folder holds synthetic faces, photographs or sprite sheets."""
    if not folder.is_dir():
        taken = f"`avatars`, {DATA['photos']}, or {DATA['sheets']}"
        raise ValueError(f"there is no folder {str(folder)!r}; --data takes {taken}")
    if sprites.is_sheets(folder):
        return "sheets"
    if is_pack(folder) and set(avatars.FACTORS) <= set(Pack(folder).schema.names):
        return "avatars"
    return "photos"


@dataclass
class Workspace:
    """One folder of trainings and measurements; what is finished is not repeated."""

    out: Path
    folders: DataFolders = field(default_factory=DataFolders)
    preset: str | Settings = "auto"         # of the classifier; see judge_classifier
    progress: Callable[[str], None] = print

    @cached_property
    def photos(self) -> Pack:
        """The photographs, packed; a pack is taken as it is."""
        folder = self.folders.photos
        assert folder is not None
        if is_pack(folder):
            return Pack(folder)
        packed = self.folder("packs") / f"photos-{SIZE}"
        return pack_folder(read_source(folder), packed, Schema(height=SIZE, width=SIZE))

    @cached_property
    def faces(self) -> Pack:
        """Synthetic faces."""
        if self.folders.avatars:
            return Pack(self.folders.avatars)
        return avatars.build(self.folder("packs") / f"faces-{SIZE}", FACES, SIZE, progress=False)

    @cached_property
    def sheets(self) -> sprites.Sheets:
        """The sprite sheets."""
        assert self.folders.sheets is not None
        return sprites.open_sheets(self.folders.sheets)

    @cached_property
    def figures(self) -> Pack:
        """Figures drawn from the sheets."""
        folder = self.folder("packs") / "sprites"
        if is_pack(folder):
            return Pack(folder)
        return sprites.build(folder, self.sheets, SPRITES, progress=False)

    def pack(self, kind: Kind) -> Pack:
        """The pack of a kind of data."""
        return self.figures if kind == "sheets" else self.faces if kind == "avatars" else self.photos

    def classifier(self, pack: Pack) -> Classifier:
        """The independent classifier of a data set, trained where there is none yet."""
        return judge_classifier(pack, preset=self.preset, progress=self.progress)

    def train(self, recipe: Recipe, pack: Pack, monitor: Monitor | None = None) -> Path:
        """The run of a recipe, trained unless it exists: the same recipe on the same data has one folder."""
        chosen = pack.select(*recipe.attributes) if recipe.attributes else pack
        train, data = asdict(recipe.train), chosen.fingerprint
        content = {"method": recipe.method, "config": asdict(recipe.config), "train": train, "data": data}
        key = hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=6).hexdigest()
        run = self.folder("runs") / f"{recipe.method}-{key}"
        if not (run / "finished").exists():
            self.progress(f"training {recipe.method}, {recipe.train.images:,} images: {run}")
            start(recipe, pack, run, quiet=True, monitor=monitor)
            files.write_text(run / "finished", "")
        return run

    def measure(self, run: Path, name: str, measure: Callable[[Method], Any]) -> Any:
        """The measurement of a run, as JSON beside it; made unless it exists."""
        return self.cached(run, name, lambda: measure(load(run)))

    def cached(self, folder: Path, name: str, compute: Callable[[], Any]) -> Any:
        """The same for what needs no run."""
        path = folder / f"measured-{name}.json"
        if not path.exists():
            self.progress(f"measuring {name}: {folder}")
            files.write_text(path, json.dumps(plain(compute()), indent=2))
        return json.loads(path.read_text("utf-8"))

    def folder(self, name: str) -> Path:
        """A folder within the workspace's, made unless it exists."""
        folder = self.out / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def estimates(values: Mapping[str, Any]) -> dict[str, Estimate]:
    """Numbers that were read as plain values."""
    return {name: structured(Estimate, value) for name, value in values.items()}


def shorten(recipe: Recipe, images: int, seed: int, **changes: Any) -> Recipe:
    """The recipe with another length and seed, averages and logs that suit it, and changes of the method's settings."""
    ema, log = min(recipe.train.ema_images, images // 20), max(1, images // 50)
    train = replace(recipe.train, images=images, seed=seed, ema_images=ema, log_every=log, evaluate_every=images)
    return replace(recipe, config=replace(recipe.config, **changes), train=train)


def baseline(method: str, attributes: tuple[str, ...], mirror: bool = True) -> Recipe:
    """A method without a recipe of its own: its default settings, in batches of 16."""
    train = TrainConfig(batch_size=16, mirror=mirror, decay=0.4, ema_images=2_000)
    return replace(default_recipe(method)[0], train=train, attributes=attributes)
