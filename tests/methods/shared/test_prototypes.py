"""Class means and probes, against codes whose means and labels are known."""

import numpy as np
import pytest
import torch
from games import HAIR, SMILING, schema

from recombine.codes import Codes, pooled
from recombine.data.schema import MISSING
from recombine.methods.shared.prototypes import Prototypes

SHAPES = {"Smiling": (2,), "hair": (3, 8, 8), "rest": (5,)}


def example(count=120):
    """Codes that hold their labels beside noise."""
    chance = torch.Generator().manual_seed(0)
    labels = {"Smiling": torch.arange(count) % 2, "hair": torch.arange(count) % 3}
    smiling = torch.stack([labels["Smiling"].float(), torch.randn(count, generator=chance)], 1)
    hair = torch.randn(count, 3, 8, 8, generator=chance) + 4 * torch.eye(3)[labels["hair"]][:, :, None, None]
    return Codes(Smiling=smiling, hair=hair, rest=torch.randn(count, 5, generator=chance)), {n: v.numpy() for n, v in labels.items()}


def fitted(**options):
    codes, labels = example()
    book = Prototypes(schema(SMILING, HAIR), SHAPES, **options)
    book.fit(codes, labels)
    return book, codes, labels


def test_the_mean_code_of_a_label_is_the_mean_of_its_pictures():
    book, codes, labels = fitted()
    blond = torch.from_numpy(labels["hair"] == 2)
    assert torch.allclose(book.label_code("hair", "blond"), codes["hair"][blond].mean(0, keepdim=True), atol=1e-5)


def test_pictures_without_a_label_are_left_out():
    codes, labels = example()
    labels = {**labels, "Smiling": np.where(np.arange(120) < 60, labels["Smiling"], MISSING)}
    book = Prototypes(schema(SMILING, HAIR), SHAPES)
    book.fit(codes, labels)
    assert book.of("count", "Smiling").tolist() == [30, 30]
    assert torch.allclose(book.label_code("Smiling", 1)[0, 1], codes["Smiling"][1:60:2, 1].mean(), atol=1e-6)


def test_probes_read_what_is_there_and_nothing_where_it_is_not():
    book, codes, labels = fitted()
    assert (book.predict(codes)["hair"].argmax(1).numpy() == labels["hair"]).all()
    blind, codes, labels = fitted(reads={"hair": ("rest",)})
    assert (blind.predict(codes)["hair"].argmax(1).numpy() == labels["hair"]).mean() < 0.6


def test_an_attribute_without_a_part_has_a_probe_and_no_mean():
    codes, labels = example()
    book = Prototypes(schema(SMILING), {"rest": (5,)}, reads={"Smiling": ("rest",)})
    book.fit(codes.select("rest"), labels)
    assert set(book.predict(codes)) == {"Smiling"} and not hasattr(book, "mean_0")


def test_a_label_that_no_picture_shows_has_no_mean():
    codes, labels = example()
    book = Prototypes(schema(SMILING, HAIR), SHAPES)
    book.fit(codes, {**labels, "hair": labels["hair"] % 2})
    with pytest.raises(ValueError, match=r"no training image shows hair=blond"):
        book.label_code("hair", "blond")


def test_maps_are_averaged_to_four_by_four():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    assert torch.equal(pooled(ramp, 4).reshape(4, 4)[0], torch.tensor([0.5, 2.5, 4.5, 6.5]))


def test_it_is_saved_with_its_buffers():
    book, codes, _ = fitted()
    again = Prototypes(schema(SMILING, HAIR), SHAPES)
    again.load_state_dict(book.state_dict())
    assert torch.equal(again.predict(codes)["hair"], book.predict(codes)["hair"])
