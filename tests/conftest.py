"""What every test shares: one thread, so that tests on two cores do not slow each other down."""

import os
from types import SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import jaxtyping

# Shapes and types in annotations are checked at every call, in tests alone; installed before the package is imported.
CHECKED = ("codes", "edit", "losses", "metrics")
jaxtyping.install_import_hook([f"recombine.{name}" for name in CHECKED], "shape_checks.check")

import numpy as np
import pytest
import torch

from recombine.codes import Codes
from recombine.data.packed import write_pack
from recombine.data.schema import Attribute, Schema
from recombine.method import Method
from recombine.methods.shared.schemas import named_roles

torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="module")
def quick_disk(request):
    """Nothing waits for the disk, but where it is tested what a crash leaves there."""
    with pytest.MonkeyPatch.context() as patch:
        if request.path.stem not in ("test_crashes", "test_files"):
            patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(autouse=True, scope="module")
def same_precision():
    """Precision "auto" is float32, not what this machine happens to be quicker with while other tests run beside."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recombine.training.engine.quickest", lambda rehearse, batch_size: ("32-true", {}))
        yield


@pytest.fixture(autouse=True, scope="module")
def mirrored(request):
    """Where nothing else is said images are mirrored, without seconds of finding out whether the signs may be."""
    with pytest.MonkeyPatch.context() as patch:
        if request.path.stem != "test_mirroring":
            for module in ("recombine.training.engine", "recombine.comparison.worker"):
                patch.setattr(f"{module}.handedness", lambda pack: SimpleNamespace(mirror=True))
        yield


@pytest.fixture
def unchecked():
    """Without the checks of shapes and types: for tests that hand in a wrong type to see what the package itself says."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


SIGNS = Schema(
    (
        Attribute("maker", "group", tuple(f"maker {i}" for i in range(40))),
        Attribute("colour", "categorical", ("red", "green", "blue")),
        Attribute("lamp", "binary", ("0", "1")),
        Attribute("stripes", "binary", ("0", "1")),
        Attribute("shade", "continuous", low=0.0, high=1.0),
    ),
    height=16,
    width=16,
)


def draw_sign(colour, lamp, stripes, shade):
    """An image `[3, 16, 16]`, uint8, from which every attribute can be read back: the smallest drawn data set."""
    image = np.full((3, 16, 16), round(255 * float(shade)), np.uint8)
    image[:, :8, :8] = 0
    image[int(colour), :8, :8] = 255
    image[:, :8, 8:] = 255 * int(lamp)
    image[:, 8:12] = 255 * int(stripes) * (np.arange(16) % 2)
    return image


def read_signs(images):
    """Attributes of images in [-1, 1], exactly: what a perfect classifier sees."""
    images = (images.cpu() + 1) / 2
    return {
        "colour": images[:, :, :8, :8].mean((2, 3)).argmax(1),
        "lamp": (images[:, :, :8, 8:].mean((1, 2, 3)) > 0.5).long(),
        "stripes": (images[:, :, 8:12].mean((1, 2, 3)) > 0.25).long(),
        "shade": images[:, :, 12:].mean((1, 2, 3)),
    }


class SignEditor(torch.nn.Module):
    """A method without networks: `perfect` redraws, `ignoring` gives the image back, `damaging` flips stripes with the lamp."""

    schema, sampler, kinds, image_size = SIGNS, "iid", ("binary", "categorical"), (16, 16)

    def __init__(self, kind="perfect"):
        super().__init__()
        self.kind = kind

    def encode(self, images):
        seen = read_signs(images)
        parts = {"colour": torch.eye(3)[seen["colour"]], **{n: seen[n].float()[:, None] for n in ("lamp", "stripes", "shade")}}
        return Codes(parts, rest=images.flatten(1))

    def decode(self, codes):
        original = codes["rest"].reshape(-1, 3, 16, 16)
        if self.kind == "ignoring":
            return original
        lamp, stripes = codes["lamp"][:, 0] > 0.5, codes["stripes"][:, 0] > 0.5
        if self.kind == "damaging":
            stripes = stripes ^ (lamp != (read_signs(original)["lamp"] == 1))
        columns = zip(codes["colour"].argmax(1), lamp, stripes, codes["shade"][:, 0], strict=True)
        return torch.stack([torch.from_numpy(draw_sign(*column)) for column in columns]).float() / 127.5 - 1

    def label_code(self, name, value):
        if name == "shade":
            return torch.tensor([[float(value)]])
        index = SIGNS[name].index(value)
        return torch.eye(3)[index][None] if name == "colour" else torch.tensor([[float(index)]])

    def roles(self):
        return named_roles(SIGNS)


Method.register(SignEditor)                 # as far as edits and the judge go; it is never trained


class SignReader:
    """A judge that is never wrong."""

    attributes = SIGNS.attributes[1:4]
    names = ("colour", "lamp", "stripes")
    info = {"accuracy": 1.0}  # noqa: RUF012

    def verdicts(self, images):
        seen = read_signs(images)
        return {name: seen[name].numpy() for name in self.names}


@pytest.fixture
def sign_editor():
    return SignEditor


@pytest.fixture
def sign_reader():
    return SignReader()


@pytest.fixture
def true_sign(signs):
    """Draws what a row of `signs` looks like with one attribute changed, in [-1, 1]."""

    def render(row, attribute, value):
        factors = {name: signs.labels[name][row] for name in ("colour", "lamp", "stripes", "shade")}
        factors[attribute] = value if attribute == "shade" else SIGNS[attribute].index(value)
        return draw_sign(**factors).astype(np.float32) / 127.5 - 1

    return render


@pytest.fixture(scope="session")
def signs(tmp_path_factory):
    """400 drawn images with every attribute independent of the others: 300 to train, 60 to choose, 40 to test."""
    rng, count = np.random.default_rng(0), 400
    labels = {
        "maker": np.arange(count) // 10,
        "colour": rng.integers(0, 3, count),
        "lamp": rng.integers(0, 2, count),
        "stripes": rng.integers(0, 2, count),
        "shade": rng.random(count).astype(np.float32),
    }
    images = np.stack([draw_sign(*(labels[n][i] for n in ("colour", "lamp", "stripes", "shade"))) for i in range(count)])
    splits = ["train"] * 300 + ["val"] * 60 + ["test"] * 40
    return write_pack(tmp_path_factory.mktemp("signs"), images, SIGNS, [f"{i}.png" for i in range(count)], labels, splits)


FACES = Schema(
    (
        Attribute("glasses", "categorical", ("none", "round", "square")),
        Attribute("mouth", "categorical", ("neutral", "smile")),
        Attribute("Smiling", "binary", ("0", "1")),
        Attribute("Eyeglasses", "binary", ("0", "1")),
    ),
    height=16,
    width=16,
)


def save_untrained(run, schema=FACES, name="ifcvaegan", settings=None):
    """A run whose model never learnt anything, which is enough to see images go in and come out."""
    from recombine.training.checkpoint import save_model
    from recombine.training.runs import build

    settings = settings or {"width": 4, "num_latents": 4, "aux_width": 8}
    with torch.random.fork_rng(devices=[]):  # the same model whichever tests ran before
        torch.manual_seed(0)
        method = build(name, settings, schema)
    run.mkdir(parents=True)
    save_model(run, method.state_dict(), {"method": name, "config": settings}, schema)
    return run


@pytest.fixture(scope="session")
def make_untrained():
    """`make_untrained(run, schema, method, settings)` leaves such a run."""
    return save_untrained


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """A run folder with a model for faces of 16 x 16 pixels."""
    return save_untrained(tmp_path_factory.mktemp("untrained") / "avatars")
