"""Class means, probes and units of attributes, against codes that hold their labels in known places."""

import math

import numpy as np
import pytest
import torch
from games import HAIR, SMILING, schema

from recombine.codes import Codes, pooled
from recombine.data.schema import MISSING, Attribute, Schema
from recombine.methods.betavae import BetaVAE, Config
from recombine.methods.shared.prototypes import LatentUnits, Prototypes, assigned, fit_prototypes, information

SHAPES = {"Smiling": (2,), "hair": (3, 8, 8), "rest": (5,)}


def example(count=120):
    """Codes that hold their labels beside noise."""
    rng = torch.Generator().manual_seed(0)
    labels = {"Smiling": torch.arange(count) % 2, "hair": torch.arange(count) % 3}
    smiling = torch.stack([labels["Smiling"].float(), torch.randn(count, generator=rng)], 1)
    hair = torch.randn(count, 3, 8, 8, generator=rng) + 4 * torch.eye(3)[labels["hair"]][:, :, None, None]
    return Codes(Smiling=smiling, hair=hair, rest=torch.randn(count, 5, generator=rng)), {n: v.numpy() for n, v in labels.items()}


def fitted(**options):
    codes, labels = example()
    book = Prototypes(schema(SMILING, HAIR), SHAPES, **options)
    book.fit(codes, labels)
    return book, codes, labels


def test_the_mean_code_of_a_label_is_the_mean_of_its_images():
    book, codes, labels = fitted()
    blond = torch.from_numpy(labels["hair"] == 2)
    assert torch.allclose(book.label_code("hair", "blond"), codes["hair"][blond].mean(0, keepdim=True), atol=1e-5)


def test_images_without_a_label_are_left_out():
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


def test_a_label_that_no_image_shows_has_no_mean():
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


def units_example(count=240):
    """Six units: hair stands in 4 and, with half of the noise of a bin, in 1; Smiling in 2; nothing in the others."""
    rng = np.random.default_rng(0)
    labels = {"Smiling": np.arange(count) % 2, "hair": np.arange(count) // 2 % 3}
    code = rng.uniform(-1, 1, (count, 6))
    code[:, 4], code[:, 2] = labels["hair"], labels["Smiling"]
    code[:, 1] = labels["hair"] + rng.uniform(0, 1.5, count)
    return torch.from_numpy(code).float(), labels


def fitted_units(units=1):
    book = LatentUnits(schema(SMILING, HAIR), 6, units)
    code, labels = units_example()
    book.fit(book.split(code), labels)
    return book, code, labels


def test_information_of_tables_that_are_counted_by_hand():
    # Eight images, four of each value: the unit that is the value tells everything, one that is the same for all nothing, one
    # that is right in three of four: 1 - H(1/4) / ln 2, with H(1/4) = 1/4 ln 4 + 3/4 ln 4/3.
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    code = np.stack([labels * 3.0 - 7, np.full(8, 0.3), np.array([0, 0, 0, 1, 0, 1, 1, 1.0])], 1)
    half_wrong = (math.log(4) + 3 * math.log(4 / 3)) / 4
    assert information(code, labels).tolist() == pytest.approx([1, 0, 1 - half_wrong / math.log(2)])


def test_images_without_a_label_tell_nothing():
    labels = np.array([0, 0, 1, 1, MISSING, MISSING])
    code = np.array([0.0, 0, 1, 1, 1, 0])[:, None]
    assert information(code, labels).tolist() == pytest.approx([1.0])
    assert information(code, np.full(6, MISSING)).tolist() == [0.0]
    assert information(code, np.where(labels == 0, 0, MISSING)).tolist() == [0.0]


def test_the_best_match_of_all_is_settled_first():
    # Unit 0 is the best of both; the second attribute has more of it, so the first must do with its second choice.
    scores = np.array([[0.9, 0.8, 0.1, 0.0], [0.95, 0.2, 0.3, 0.0]])
    assert assigned(scores, 1) == [1, 0, 2, 3]
    assert assigned(scores, 2) == [1, 3, 0, 2]
    assert assigned(np.zeros((2, 3)), 1) == [0, 1, 2]
    assert assigned(np.zeros((0, 3)), 1) == [0, 1, 2]


def test_units_go_where_their_attribute_is():
    book, code, _ = fitted_units()
    assert book.order.tolist() == [2, 4, 0, 1, 3, 5]
    codes = book.split(code)
    assert torch.equal(codes["Smiling"], code[:, 2:3]) and torch.equal(codes["hair"], code[:, 4:5])
    assert torch.equal(codes["rest"], code[:, [0, 1, 3, 5]])
    assert {1, 4} == set(fitted_units(units=2)[0].order[2:4].tolist())


def test_joining_undoes_splitting_before_and_after():
    book, code, _ = fitted_units()
    for each in (book, LatentUnits(schema(SMILING, HAIR), 6, 1), LatentUnits(Schema(), 6, 1)):
        assert torch.equal(each.join(each.split(code)), code)
    assert list(LatentUnits(Schema(), 6, 1).split(code)) == ["rest"]


def test_until_fitted_the_first_units_are_the_first_attributes():
    book, code, _ = LatentUnits(schema(SMILING, HAIR), 6, 2), *units_example()
    assert torch.equal(book.split(code)["hair"], code[:, 2:4]) and torch.equal(book.split(code)["rest"], code[:, 4:])


def test_fitting_again_does_not_depend_on_what_was_owned_before():
    book, code, labels = fitted_units()
    once = {name: value.clone() for name, value in book.state_dict().items()}
    book.fit(book.split(code), labels)
    assert all(torch.equal(once[name], value) for name, value in book.state_dict().items())


def test_means_and_probes_are_of_the_new_units():
    book, code, labels = fitted_units()
    assert book.label_code("hair", "blond").item() == pytest.approx(2) and book.label_code("Smiling", 0).item() == pytest.approx(0)
    seen = book.predict(book.split(code))
    assert all((seen[name].argmax(1).numpy() == labels[name]).all() for name in labels)


def test_the_classifier_reads_the_whole_code():
    # The colour stands half in the attribute's unit and half in another one; only together do they tell all three.
    labels = {"hair": np.arange(240) % 3}
    code = torch.zeros(240, 4)
    code[:, 1], code[:, 3] = torch.from_numpy(labels["hair"] == 1), torch.from_numpy(labels["hair"] == 2)
    book = LatentUnits(schema(HAIR), 4, 1)
    book.fit(book.split(code), labels)
    assert (book.predict(book.split(code))["hair"].argmax(1).numpy() == labels["hair"]).all()


def test_the_assignment_is_saved():
    book, code, _ = fitted_units()
    again = LatentUnits(schema(SMILING, HAIR), 6, 1)
    again.load_state_dict(book.state_dict())
    assert again.split(code) == book.split(code) and again.order.dtype == torch.int64


def test_a_method_is_given_its_units_by_the_training_images(signs):
    pack = signs.select("lamp", "colour")
    method = BetaVAE(Config(width=4, hidden=16, num_latents=6), pack.schema).eval()
    images = pack.batch(pack.rows("test")).images
    before, picture = method.encode(images), method.decode(method.encode(images))
    method.codebook.order.copy_(torch.tensor([5, 4, 3, 2, 1, 0]))
    fit_prototypes(method, method.codebook, pack)
    first = method.codebook.order.tolist()
    after = method.encode(images)
    assert list(before) == list(after) == ["lamp", "colour", "rest"] and isinstance(after, Codes)
    assert torch.allclose(method.decode(after), picture, atol=1e-6), "who owns what changes no image"
    fit_prototypes(method, method.codebook, pack)
    assert sorted(first) == list(range(6)) and method.codebook.order.tolist() == first


def test_attributes_that_cannot_own_units():
    with pytest.raises(ValueError, match="'person' is a group: leave it out"):
        LatentUnits(schema(SMILING, Attribute("person", "group", ("a", "b"))), 6, 1)
    with pytest.raises(ValueError, match="'yaw' is continuous: leave it out"):
        LatentUnits(schema(Attribute("yaw", "continuous", low=-30.0, high=30.0)), 6, 1)
    with pytest.raises(ValueError, match="6 latent units are too few for 2 attributes with 3 each and a rest"):
        LatentUnits(schema(SMILING, HAIR), 6, 3)
    assert LatentUnits(schema(SMILING, HAIR), 7, 3).split(torch.zeros(1, 7))["rest"].shape == (1, 1)


def test_an_attribute_it_does_not_have():
    with pytest.raises(ValueError, match="no attribute 'hat'"):
        fitted_units()[0].label_code("hat", 1)
    with pytest.raises(ValueError, match="no training image shows Smiling=1"):
        LatentUnits(schema(SMILING, HAIR), 6, 1).label_code("Smiling", 1)
