"""Label codes and the losses that read them, against numbers worked by hand."""

import math
from dataclasses import replace

import pytest
import torch
from games import HAIR, SMILING, batch, schema

from recombine.data.schema import MISSING, Attribute
from recombine.methods.shared.label_codes import LabelCodes, hard

BOTH = schema(SMILING, HAIR)
CODES = LabelCodes(BOTH)


def test_hard_labels():
    assert hard(SMILING, torch.tensor([0, 1])).tolist() == [[0], [1]]
    assert hard(HAIR, torch.tensor([2, MISSING])).tolist() == [[0, 0, 1], [0, 0, 0]]
    assert hard(Attribute("yaw", "continuous", low=-30.0, high=30.0), torch.tensor([15.0])).tolist() == [[0.5]]
    assert CODES.num_units == 4
    assert CODES.code("hair", "brown").tolist() == [[0, 1, 0]]
    with pytest.raises(ValueError, match="no attribute 'hat'"):
        CODES.code("hat", 1)


def test_guesses_are_probabilities():
    parts = CODES.soft(torch.tensor([[math.log(3), 0, 0, math.log(2)]]))
    assert parts["Smiling"].tolist() == [[pytest.approx(0.75)]] and parts["hair"].tolist() == [[0.25, 0.25, 0.5]]
    assert CODES.probabilities(parts)["Smiling"].tolist() == [[pytest.approx(0.25), pytest.approx(0.75)]]
    assert CODES.joined(parts).tolist() == [[pytest.approx(0.75), 0.25, 0.25, 0.5]]


def test_a_missing_label_is_guessed_without_gradient():
    data = batch(BOTH, count=2)
    data = replace(data, labels={"Smiling": torch.tensor([1, MISSING]), "hair": torch.tensor([0, 2])}, known={**data.known, "Smiling": torch.tensor([True, False])})
    guesses = {"Smiling": torch.full((2, 1), 0.3, requires_grad=True), "hair": torch.full((2, 3), 1 / 3)}
    parts = CODES.given(data, guesses)
    assert parts["Smiling"].tolist() == [[1.0], [pytest.approx(0.3)]] and parts["hair"].tolist() == [[1, 0, 0], [0, 0, 1]]
    assert not parts["Smiling"].requires_grad


def test_label_loss_adds_attributes_up_and_leaves_missing_ones_out():
    # sigmoid = 3/4 for label 1: -ln 3/4; the other image's label is missing: half of it. Hair without opinion: ln 3.
    labels = {"Smiling": torch.tensor([1, 0]), "hair": torch.tensor([0, 2])}
    known = {"Smiling": torch.tensor([True, False]), "hair": torch.tensor([True, True])}
    logits = torch.tensor([[math.log(3), 0, 0, 0], [5.0, 0, 0, 0]])
    assert CODES.loss(logits, labels, known).item() == pytest.approx(-math.log(3 / 4) / 2 + math.log(3), abs=1e-6)


def test_wrong_labels_are_wrong_and_any_of_the_others():
    # Each of the two wrong colours for half of 20,000 images; three standard deviations are 0.0106.
    data = batch(BOTH, count=20_000)
    wrong = CODES.wrong(data)
    assert torch.equal(wrong["Smiling"], 1 - data.labels["Smiling"])
    step = (wrong["hair"] - data.labels["hair"]) % 3
    assert set(step.tolist()) == {1, 2} and (step == 1).float().mean().item() == pytest.approx(0.5, abs=0.0106)
    part = CODES.wrong(data.slice(100, 200))
    assert torch.equal(part["hair"], wrong["hair"][100:200]), "a micro-batch draws what the whole batch draws"
