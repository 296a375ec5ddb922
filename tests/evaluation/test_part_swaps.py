"""Swaps of parts with several attributes, by editors of which every number is known."""


import numpy as np
import pytest
import torch
from conftest import SignEditor, draw_sign

from recombine.codes import Codes
from recombine.evaluation import part_swaps as parts
from recombine.evaluation.judgement import PartScores, PartSwaps
from recombine.evaluation.part_swaps import Carried, part_swaps

FACTORS = ("colour", "lamp", "stripes", "shade")
CARRIES = {"looks": Carried(("colour", "lamp"), ("colour", "lamp")), "stripes": Carried(("stripes",), ("stripes",))}


class PartEditor(SignEditor):
    """Signs with one part for colour and lamp together, and one for the stripes."""

    def encode(self, images):
        codes = super().encode(images)
        looks = torch.cat([codes["colour"], codes["lamp"]], 1)
        return Codes(looks=looks, **{name: codes[name] for name in ("stripes", "shade", "rest")})

    def decode(self, codes):
        apart = {"colour": codes["looks"][:, :3], "lamp": codes["looks"][:, 3:]}
        return super().decode(Codes(apart, **{name: codes[name] for name in ("stripes", "shade", "rest")}))


@pytest.fixture
def truth(signs):
    def draw(row, giver, moved):
        factors = {name: signs.labels[name][giver if name in moved else row] for name in FACTORS}
        return draw_sign(**factors).astype(np.float32) / 127.5 - 1

    return lambda swaps: [draw(*swap) for swap in swaps]


def measured(kind, signs, sign_reader, carries=CARRIES, **options):
    return part_swaps(PartEditor(kind), signs, signs.rows("val"), sign_reader, carries, **options)


def differing(signs, carried):
    """How many judged labels differ between rows and the sources that they get."""
    rows = signs.rows("val")
    edits = parts.draw_pairs(signs, rows, "looks", carried.judged, 0)
    return sum(signs.labels[n][rows[e.place]] != signs.labels[n][rows[e.source]] for e in edits for n in carried.judged)


def test_perfect_editor(signs, sign_reader, truth):
    found = measured("perfect", signs, sign_reader, truth=truth, chunk=25)
    for report in (found.all, *found.parts.values()):
        assert report.success.value == 1 and report.success_unedited.value == 0
        assert report.preserved.value == 1 and report.preserved_unedited.value == 1
        assert report.psnr.edited.value > 50 > report.psnr.original.value
    looks = found.parts["looks"]
    assert looks.success.n == differing(signs, CARRIES["looks"]) > 60
    assert looks.success.images == 60 and looks.preserved.n == 60 and looks.psnr.edited.n == 60
    assert sum(report.n for report in looks.attributes.values()) == looks.success.n
    assert found.parts["stripes"].preserved.n == 120


def test_editor_that_ignores_what_it_is_given(signs, sign_reader, truth):
    found = measured("ignoring", signs, sign_reader, truth=truth).all
    assert found.success.value == 0 and found.preserved.value == 1
    assert found.psnr.edited.value == pytest.approx(found.psnr.original.value)


def test_editor_that_damages_the_stripes_with_the_lamp(signs, sign_reader):
    found = measured("damaging", signs, sign_reader).parts
    rows = signs.rows("val")
    edits = parts.draw_pairs(signs, rows, "looks", ("colour", "lamp"), 0)
    same = [signs.labels["lamp"][rows[e.place]] == signs.labels["lamp"][rows[e.source]] for e in edits]
    assert 0 < np.mean(same) < 1
    assert found["looks"].success.value == 1 and found["looks"].preserved.value == pytest.approx(np.mean(same))
    assert found["stripes"].preserved.value == 1 and found["looks"].psnr is None


def test_what_is_moved_or_free_is_not_asked_to_be_kept(signs, sign_reader):
    for carried in (Carried(("lamp",), moved=("stripes",)), Carried(("lamp",), free=("stripes",))):
        found = measured("damaging", signs, sign_reader, {"looks": carried}).parts["looks"]
        # Only the colour is left, and the source's comes along with the part.
        assert found.preserved.n == 60 and found.preserved.value < 0.7
    alone = measured("damaging", signs, sign_reader, {"looks": Carried(("lamp",), free=("stripes", "colour"))})
    assert alone.all.preserved is None and alone.all.success.value == 1


def test_givers_depend_on_the_row_and_the_seed(signs):
    rows, judged = signs.rows("val"), ("colour", "lamp")

    def pairs(order, seed=0):
        return {(order[e.place], order[e.source]) for e in parts.draw_pairs(signs, order, "looks", judged, seed)}

    # Which of the candidates gives is the n-th in the order of rows, so the same rows in the same order are compared.
    assert pairs(rows) == pairs(rows) != pairs(rows, seed=1)
    for row, giver in pairs(rows):
        assert any(signs.labels[name][row] != signs.labels[name][giver] for name in judged)


def test_missing_labels_are_not_judged(signs, sign_reader, monkeypatch):
    lamps = signs.labels["lamp"].copy()
    lamps[signs.rows("val")[:15]] = -1
    monkeypatch.setitem(signs.labels, "lamp", lamps)
    alone = measured("perfect", signs, sign_reader, {"looks": Carried(("lamp",), ("colour", "lamp"))}).parts["looks"]
    assert alone.success.n == 45 and alone.success.value == 1
    both = measured("perfect", signs, sign_reader).parts["looks"]
    assert both.preserved.n == 60 and both.success.value == 1


def test_truths_that_cannot_be_drawn_are_left_out(signs, sign_reader, truth):
    some = measured("perfect", signs, sign_reader, truth=lambda swaps: [truth([s])[0] if s[0] % 2 else None for s in swaps])
    assert some.parts["stripes"].psnr.edited.n == sum(signs.rows("val") % 2)
    assert measured("perfect", signs, sign_reader, truth=lambda swaps: [None] * len(swaps)).all.psnr is None


def test_one_picture_has_nobody_to_swap_with(signs, sign_reader, truth):
    found = part_swaps(PartEditor(), signs, signs.rows("val")[:1], sign_reader, CARRIES, truth)
    assert found == PartSwaps(PartScores(), {})


def test_mistakes_are_named(signs, sign_reader):
    with pytest.raises(ValueError, match="no part 'hat' to swap; the method's parts are looks, stripes, shade, rest"):
        measured("perfect", signs, sign_reader, {"hat": Carried(("lamp",))})
    with pytest.raises(ValueError, match="'maker', to be judged in swaps of 'looks', is not read by the classifier"):
        measured("perfect", signs, sign_reader, {"looks": Carried(("maker",))})
