"""The edits, on codes whose numbers tell where they came from."""

import numpy as np
import pytest
import torch
from games import HAIR, SMILING, batch, schema

from recombine import Codes, draw_label, interpolate, mix, set_label, swap
from recombine.method import Unsupported
from recombine.methods.ifcvaegan import Config, IFcVAEGAN
from recombine.methods.splice import TINY, Splice


def full(value, count=2):
    return Codes(smile=torch.full((count, 1), float(value)), rest=torch.full((count, 3), float(value)))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return IFcVAEGAN(Config(width=4, num_latents=6, aux_width=16), schema(SMILING, HAIR)).eval()


def test_swap_exchanges_the_named_part_alone():
    a, b = swap(full(0), full(1), "smile")
    assert a["smile"].eq(1).all() and a["rest"].eq(0).all()
    assert b["smile"].eq(0).all() and b["rest"].eq(1).all()


def test_swapping_twice_is_nothing():
    a, b = full(0), full(1)
    assert swap(*swap(a, b, "smile", "rest"), "smile", "rest") == (a, b)


def test_one_image_meets_many():
    a, b = swap(full(0, 5), full(1, 1), "smile")
    assert a["smile"].eq(1).all() and a.batch_size == b.batch_size == 5


def test_swap_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"name at least one part to swap; these codes have \['smile', 'rest'\]"):
        swap(full(0), full(1))
    with pytest.raises(KeyError, match="no part 'hat'"):
        swap(full(0), full(1), "hat")
    with pytest.raises(ValueError, match=r"part 'smile' has shapes \(1,\) and \(2,\).*same model"):
        swap(full(0), Codes(smile=torch.zeros(2, 2), rest=torch.zeros(2, 3)), "smile")
    with pytest.raises(ValueError, match="codes of 2 images cannot stand beside codes of 3"):
        swap(full(0, 2), full(1, 3), "smile")


def test_interpolate_moves_along_the_line():
    assert interpolate(full(0), full(1), 0.25)["rest"].eq(0.25).all()
    beyond = interpolate(full(0), full(1), 1.5, "smile")
    assert beyond["smile"].eq(1.5).all() and beyond["rest"].eq(0).all()
    each = interpolate(full(0), full(1), torch.tensor([0.0, 1.0]))
    assert each["rest"][0].eq(0).all() and each["rest"][1].eq(1).all()


def test_mix_takes_parts_and_means():
    mixed = mix(smile=full(1), rest=[(full(0), 1), (full(1), 3)])
    assert mixed["smile"].eq(1).all() and mixed["rest"].eq(0.75).all()
    identities = mix(smile=full(2), rest=[(full(0), 0.5), (full(3), 0.25), (full(6), 0.25)])
    assert identities["rest"].eq(2.25).all()
    assert mix(smile=full(1, 4), rest=full(0, 1)).batch_size == 4


def test_mix_refuses_weights_that_are_none():
    with pytest.raises(ValueError, match=r"weights of part 'rest' must be at least 0 and not all 0, not \[1.0, -1.0\]"):
        mix(rest=[(full(0), 1), (full(1), -1)])
    with pytest.raises(ValueError, match="at least one part"):
        mix()


def test_set_label_by_name_and_strength(model):
    codes = model.encode(batch(model.schema).images)
    done = set_label(model, codes, Smiling="yes", hair="blond")
    assert done["Smiling"].eq(1).all() and torch.equal(done["hair"], torch.tensor([[0.0, 0.0, 1.0]]).expand(8, 3))
    assert torch.equal(done["rest"], codes["rest"])
    assert set_label(model, codes, Smiling=1, strength=0.0) == codes
    half = set_label(model, codes, Smiling=1, strength=0.5)["Smiling"]
    assert torch.allclose(half, (codes["Smiling"] + 1) / 2)
    ramp = set_label(model, codes, Smiling=0, strength=torch.linspace(0, 1, 8))["Smiling"]
    assert torch.equal(ramp[0], codes["Smiling"][0]) and ramp[-1].abs().max() < 1e-6


def test_set_label_says_what_exists(model):
    codes = model.encode(batch(model.schema).images)
    with pytest.raises(ValueError, match="no attribute 'smiling'; there are Smiling, hair; did you mean 'Smiling'"):
        set_label(model, codes, smiling=1)
    with pytest.raises(ValueError, match="hair has no value 'blnod'; it has black, brown, blond; did you mean 'blond'"):
        set_label(model, codes, hair="blnod")
    with pytest.raises(ValueError, match="at least one label"):
        set_label(model, codes)


@pytest.fixture
def drawing():
    """A model with a prior: codes of smiles lie around 3, apart along the first number alone."""
    torch.manual_seed(0)
    model = Splice(TINY, schema(SMILING)).eval()
    apart = torch.linspace(-1, 1, 101)[:, None] * torch.tensor([1.0, 0, 0, 0])
    smiles = Codes({"Smiling": torch.cat([torch.zeros(10, 4), 3 + apart]), "rest": torch.zeros(111, 8, 4, 4)})
    model.codebook.fit(smiles, {"Smiling": np.array([0] * 10 + [1] * 101)}, probes=False)
    return model


def test_each_image_gets_a_label_in_a_way_of_its_own(drawing):
    codes = drawing.encode(batch(drawing.schema, 200).images)
    drawn = draw_label(drawing, codes, seeds=range(200), Smiling=1)["Smiling"]
    assert torch.allclose(drawn[:, 1:], torch.full((200, 3), 3.0), atol=1e-4), "nothing varies there in training"
    assert drawn[:, 0].mean().item() == pytest.approx(3.0, abs=0.15)
    assert drawn[:, 0].std().item() == pytest.approx(0.583, abs=0.08), "of 101 steps from -1 to 1"
    again = draw_label(drawing, codes[:2], seeds=[1, 0], Smiling=1)["Smiling"]
    assert torch.equal(again, drawn[[1, 0]]), "the same seed draws the same"
    half = draw_label(drawing, codes, seeds=range(200), Smiling=1, strength=0.5)["Smiling"]
    assert torch.allclose(half, (codes["Smiling"] + drawn) / 2, atol=1e-6)


def test_draw_label_says_what_is_wrong(model, drawing):
    codes = drawing.encode(batch(drawing.schema).images)
    with pytest.raises(ValueError, match="needs a seed for each of 8 images, not 1"):
        draw_label(drawing, codes, seeds=[1], Smiling=1)
    with pytest.raises(ValueError, match="draw_label needs at least one label"):
        draw_label(drawing, codes, seeds=range(8))
    with pytest.raises(ValueError, match=r"no attribute 'smiling'.*did you mean 'Smiling'"):
        draw_label(drawing, codes, seeds=range(8), smiling=1)
    with pytest.raises(Unsupported, match="no prior over codes to draw from; set_label gives the mean, and splice has one"):
        draw_label(model, model.encode(batch(model.schema).images), seeds=range(8), Smiling=1)
