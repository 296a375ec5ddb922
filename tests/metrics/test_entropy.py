"""Entropies of posteriors that are known."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from recombine.codes import Codes
from recombine.data.schema import Attribute
from recombine.metrics.entropy import entropy_matrix, off_part_entropy, posterior_entropy
from recombine.metrics.leakage import leakage


def test_a_head_that_knows_and_one_that_does_not():
    sure = posterior_entropy(torch.eye(4).repeat(5, 1) * 200)
    assert (sure.value, sure.n) == (pytest.approx(0, abs=1e-12), 20)
    assert posterior_entropy(torch.full((20, 147), 3.0)).value == pytest.approx(1)


def test_certainty_beyond_what_numbers_can_hold():
    logits = torch.tensor([[0.0, -float("inf")], [0.0, 0.0]])
    assert posterior_entropy(logits).value == pytest.approx(0.5)
    assert posterior_entropy(torch.tensor([[1e30, -1e30]])).value == 0


def test_agrees_with_scipy():
    likely = torch.rand(50, 6, generator=torch.Generator().manual_seed(0))
    found = posterior_entropy(likely.log())
    theirs = entropy(likely.double().numpy(), axis=1, base=6)
    assert found.value == pytest.approx(theirs.mean(), abs=1e-6)
    assert theirs.min() < found.low < found.value < found.high < theirs.max()


def test_every_head_on_every_part():
    colour = torch.arange(30) % 3
    codes = Codes(colour=10.0 * torch.eye(3)[colour], rest=torch.zeros(30, 3), picture=torch.zeros(30, 3, 4, 4))
    found = entropy_matrix(lambda part, name: part if part.ndim == 2 else None, codes, ["colour"])
    assert found["colour"]["colour"].value < 0.01 and found["rest"]["colour"].value == pytest.approx(1)
    assert found["picture"] == {}
    shuffled = codes.replace(colour=torch.stack([codes["colour"][:, 0]] * 3, 1))
    assert entropy_matrix(lambda part, name: part, shuffled.select("colour"), ["colour"])["colour"]["colour"].value == pytest.approx(1)


def test_one_value_is_refused():
    with pytest.raises(ValueError, match=r"two values or more, not \(5, 1\)"):
        posterior_entropy(torch.zeros(5, 1))


def test_off_parts_of_fresh_probes():
    lamp = Attribute("lamp", "binary", ("0", "1"))
    rng = np.random.default_rng(0)
    labels = {"lamp": rng.permutation(600) % 2}
    codes = Codes(lamp=torch.tensor(labels["lamp"])[:, None].float(), told=torch.tensor(labels["lamp"])[:, None].float(), noise=torch.randn(600, 3, generator=torch.Generator().manual_seed(0)))
    matrix = leakage(codes[:400], {"lamp": labels["lamp"][:400]}, codes[400:], {"lamp": labels["lamp"][400:]}, [lamp])
    found = off_part_entropy(matrix, {"lamp": ["lamp"]})
    assert set(found["matrix"]) == {"told", "noise"} and found["matrix"]["told"]["lamp"]["value"] < 0.3
    assert found["matrix"]["noise"]["lamp"]["value"] > 0.97 and found["matrix"]["noise"]["lamp"]["prior"] == pytest.approx(1, abs=0.01)
    both = np.mean([found["matrix"][part]["lamp"]["value"] for part in ("told", "noise")])
    assert found["off_part"]["value"] == pytest.approx(both) and found["off_part"]["n"] == 200
    with pytest.raises(ValueError, match="no part was probed by a linear probe"):
        off_part_entropy(matrix, {part: ["lamp"] for part in codes})
