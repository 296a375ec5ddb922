"""Edits by a perfect, an ignoring and a damaging editor, of which every number is known."""

import numpy as np
import pytest
import torch

from recombine import inference
from recombine.evaluation import transfer
from recombine.evaluation.judgement import EditScores
from recombine.evaluation.transfer import Edit


def measured(kind, edits, sign_editor, signs, sign_reader):
    return transfer.by_attribute(kind(sign_editor(edits), signs, signs.rows("val"), sign_reader, chunk=32), signs.schema)


@pytest.mark.parametrize("kind", [transfer.label_edits, transfer.swaps])
def test_perfect_editor(kind, sign_editor, signs, sign_reader):
    for report in measured(kind, "perfect", sign_editor, signs, sign_reader).values():
        assert report.success.value == 1 and report.preserved.value == 1
        assert report.success_unedited.value == 0 and report.preserved_unedited.value == 1
        assert report.success.n == 60 and report.success.low == pytest.approx(60 / (60 + 1.959964**2))
        assert report.preserved.n == 120 and report.preserved.images == 60


@pytest.mark.parametrize("kind", [transfer.label_edits, transfer.swaps])
def test_editor_that_ignores_the_label(kind, sign_editor, signs, sign_reader):
    for report in measured(kind, "ignoring", sign_editor, signs, sign_reader).values():
        assert report.success.value == 0 and report.preserved.value == 1


@pytest.mark.parametrize("kind", [transfer.label_edits, transfer.swaps])
def test_editor_that_damages_the_stripes_with_the_lamp(kind, sign_editor, signs, sign_reader):
    reports = measured(kind, "damaging", sign_editor, signs, sign_reader)
    # Of the two attributes beside the lamp the colour is kept and the stripes never are.
    assert reports["lamp"].success.value == 1 and reports["lamp"].preserved.value == 0.5
    assert reports["lamp"].preserved_unedited.value == 1
    assert reports["colour"].preserved.value == 1


def test_who_suffers_is_named(sign_editor, signs, sign_reader):
    verdicts = transfer.label_edits(sign_editor("damaging"), signs, signs.rows("val"), sign_reader)
    kept = {name: {other: s.value for other, s in row.items()} for name, row in transfer.preserved_of(verdicts).items()}
    assert kept == {
        "colour": {"lamp": 1, "stripes": 1}, "lamp": {"colour": 1, "stripes": 0}, "stripes": {"colour": 1, "lamp": 1},
    }


def test_every_value_has_its_share(sign_editor, signs, sign_reader):
    verdicts = transfer.label_edits(sign_editor(), signs, signs.rows("val"), sign_reader, per_image=None)
    assert len(verdicts) == 60 * (2 + 1 + 1)
    values = transfer.by_attribute(verdicts, signs.schema)["colour"].values
    assert list(values) == ["red", "green", "blue"] and sum(v.n for v in values.values()) == 120


def test_results_do_not_depend_on_chunks_or_order(sign_editor, signs, sign_reader):
    rows = signs.rows("val")
    found = []
    for order, chunk in ((rows, 7), (rows[::-1].copy(), 500)):
        verdicts = transfer.label_edits(sign_editor("damaging"), signs, order, sign_reader, chunk=chunk)
        found.append({(order[e.place], e.attribute, e.wanted, *seen) for e, seen in zip(verdicts.edits, verdicts.after, strict=True)})
    assert found[0] == found[1] and len(found[0]) == 180


def test_one_picture(sign_editor, signs, sign_reader):
    row = signs.rows("val")[:1]
    assert len(transfer.label_edits(sign_editor(), signs, row, sign_reader)) == 3
    alone = transfer.swaps(sign_editor(), signs, row, sign_reader)
    assert len(alone) == 0 and transfer.scores(alone) == EditScores() and transfer.by_attribute(alone, signs.schema) == {}


def test_missing_labels_take_no_part(sign_editor, signs, sign_reader, monkeypatch):
    lamps = signs.labels["lamp"].copy()
    lamps[signs.rows("val")[:15]] = -1
    monkeypatch.setitem(signs.labels, "lamp", lamps)
    for kind in (transfer.label_edits, transfer.swaps):
        verdicts = kind(sign_editor(), signs, signs.rows("val"), sign_reader, attributes=["lamp"])
        assert len(verdicts) == 45 and set(verdicts.images()) == set(range(15, 60))


def test_swap_gives_the_givers_label(signs):
    rows = signs.rows("val")
    for edit in transfer.swap_pairs(signs, rows, "colour"):
        given, own = (signs.labels["colour"][rows[place]] for place in (edit.source, edit.place))
        assert given == edit.wanted and given != own


def test_shares_that_a_training_logs(sign_editor, signs, sign_reader):
    rows = signs.rows("val")
    noise = pytest.approx(0.5 * 1.96**2 / (60 + 1.96**2), rel=1e-3)  # Wilson's interval of 60 of 60: edits of one image all succeed
    perfect = {**{f"edit_success/{name}": 1.0 for name in ("all", "colour", "lamp", "stripes")}, "edit_noise": noise}
    assert transfer.edit_shares(sign_editor("perfect"), signs, rows, sign_reader) == perfect
    before = transfer.seen_in_rows(sign_reader, signs, rows)
    assert transfer.edit_shares(sign_editor("perfect"), signs, rows, sign_reader, before=before) == {**perfect, "edit_kept/all": 1.0}
    ignoring = transfer.edit_shares(sign_editor("ignoring"), signs, rows, sign_reader, attributes=["lamp"])
    assert ignoring == {"edit_success/all": 0.0, "edit_success/lamp": 0.0, "edit_noise": noise}


def test_rates_of_an_ignoring_editor_add_up_to_one(sign_editor, signs, sign_reader):
    ignored = transfer.label_rates(sign_editor("ignoring"), signs, signs.rows("val"), "lamp", sign_reader)
    assert ignored["0"].value + ignored["1"].value == pytest.approx(1)
    perfect = transfer.label_rates(sign_editor(), signs, signs.rows("val"), "lamp", sign_reader)
    assert perfect["0"].value == perfect["1"].value == 1


def test_sensitivity_by_hand(sign_editor, signs):
    found = transfer.sensitivity(sign_editor(), signs, signs.rows("val"))
    # The lamp is a quarter of the image and goes from 0 to 1; a colour's block has one channel off and one on.
    assert found["lamp"].value == pytest.approx(64 / 256)
    assert found["colour"].value == pytest.approx(64 / 256 * 2 / 3)
    assert found["shade"].value == pytest.approx(64 / 256, abs=1e-5)
    ignored = transfer.sensitivity(sign_editor("ignoring"), signs, signs.rows("val"))
    assert all(report.value == 0 for report in ignored.values())


def test_psnr_against_the_truth(sign_editor, signs, true_sign):
    rows = signs.rows("val")
    edits = [Edit(place, "lamp", 1 - int(signs.labels["lamp"][row])) for place, row in enumerate(rows)]
    truths = [true_sign(int(rows[e.place]), "lamp", e.wanted) for e in edits]
    perfect = transfer.against_truth(sign_editor(), signs, rows, edits, truths, chunk=25)["lamp"]
    assert perfect.edited.value > 50
    assert perfect.original.value == pytest.approx(-10 * np.log10(0.25), abs=1e-3)
    ignored = transfer.against_truth(sign_editor("ignoring"), signs, rows, edits, truths)["all"]
    assert ignored.edited.value == pytest.approx(ignored.original.value)


def test_the_truth_itself_scores_in_full(sign_editor, signs, sign_reader, true_sign):
    rows = signs.rows("val")
    verdicts = transfer.label_edits(sign_editor("ignoring"), signs, rows, sign_reader)
    truths = [
        true_sign(int(rows[e.place]), e.attribute, signs.schema[e.attribute].values[e.wanted]) for e in verdicts.edits
    ]
    assert transfer.scores(transfer.seen_in_truth(verdicts, sign_reader, truths)).success.value == 1


def test_unknown_attribute_is_refused(sign_editor, signs, sign_reader):
    with pytest.raises(ValueError, match="'hat' cannot be judged; the method and the classifier share"):
        transfer.label_edits(sign_editor(), signs, signs.rows("val"), sign_reader, attributes=["hat"])


def test_judging_gives_every_network_its_mode_back(sign_editor):
    model = sign_editor()
    model.free, model.frozen = torch.nn.Dropout(), torch.nn.Dropout().eval()
    with inference.evaluation_mode(model):
        assert not model.free.training and not torch.is_grad_enabled()
    assert model.free.training and not model.frozen.training and torch.is_grad_enabled()


def test_swaps_of_the_same_pictures_are_made_once(sign_editor, signs, sign_reader, monkeypatch):
    rows, model = signs.rows("val"), sign_editor("damaging")
    alone = transfer.swaps(model, signs, rows, sign_reader)
    found = transfer.seen_originals(model, signs, rows, sign_reader)
    first = transfer.swaps(model, signs, rows, sign_reader, originals=found)
    monkeypatch.setattr(model, "decode", None)
    again = transfer.judged(model, signs, rows, sign_reader, first.edits, originals=found)
    for side in ("before", "reconstructed", "after"):
        assert (getattr(alone, side) == getattr(first, side)).all() and (getattr(again, side) == getattr(first, side)).all()
    with pytest.raises(TypeError):
        transfer.swaps(model, signs, rows, sign_reader, originals=found, seed=1)
