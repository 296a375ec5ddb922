"""The whole judgement, on editors whose every number is known."""

import json

import numpy as np
import pytest

from recombine.data.packed import write_pack
from recombine.judge import judge, judged_rows
from recombine.metrics.truth import drawn

EDITS = ("reconstruction", "sensitivity", "judge", "edits", "swaps", "truth")


@pytest.fixture
def judgement(sign_editor, signs, sign_reader, true_sign):
    return judge(sign_editor(), signs, classifier=sign_reader, render=true_sign, truths=40, measures=EDITS)


def test_perfect_editor(judgement):
    assert judgement["pictures"] == judgement["of"] == 60 and set(judgement["left_out"]) == {"lpips"}
    assert judgement["on_training_data"] is False
    assert judgement["reconstruction"]["psnr"]["value"] > 50
    for kind in ("edits", "swaps"):
        assert set(judgement[kind]["attributes"]) == {"colour", "lamp", "stripes"}
        assert judgement[kind]["all"]["success"]["value"] == judgement[kind]["all"]["kept"]["value"] == 1
        assert judgement["truth"][kind]["psnr"]["all"]["edited"]["value"] > 50
        assert judgement["truth"][kind]["truth_as_seen"]["success"]["value"] == 1
    assert judgement["judge"]["attributes"]["lamp"]["accuracy"]["value"] == 1
    assert set(judgement["seconds"]) == {"carries", *EDITS}


def test_continuous_attributes_are_measured_against_the_truth(judgement):
    shade = judgement["truth"]["edits"]["psnr"]["shade"]
    assert shade["edited"]["value"] > 50 > shade["original"]["value"] and shade["edited"]["n"] == 10


def test_it_is_plain_json(judgement):
    assert json.loads(json.dumps(judgement, allow_nan=False)) == judgement


def test_ignoring_editor(sign_editor, signs, sign_reader, true_sign):
    judgement = judge(sign_editor("ignoring"), signs, classifier=sign_reader, render=true_sign, truths=40, measures=EDITS)
    assert judgement["reconstruction"]["psnr"]["value"] == pytest.approx(100)
    assert judgement["edits"]["all"]["success"]["value"] == 0 == judgement["sensitivity"]["colour"]["value"]
    truth = judgement["truth"]["edits"]["psnr"]["all"]
    assert truth["edited"]["value"] == pytest.approx(truth["original"]["value"])


def test_what_cannot_be_measured_is_left_out_with_its_reason(sign_editor, signs, sign_reader, tmp_path):
    judgement = judge(sign_editor(), signs, classifier=sign_reader, measures=EDITS)
    assert "truth" not in judgement and "drawn, not photographed" in judgement["left_out"]["truth"]
    columns, schema = {"shade": signs.labels["shade"]}, signs.schema.select("shade")
    unlabelled = write_pack(tmp_path, np.asarray(signs.images[:]), schema, signs.files, columns, signs.splits)
    judgement = judge(sign_editor(), unlabelled, measures=EDITS)
    assert "binary or categorical" in judgement["left_out"]["judge"]
    assert "no independent classifier" in judgement["left_out"]["edits"]
    assert "no part of its own" in judgement["left_out"]["lamp"]
    assert judgement["sensitivity"]["shade"]["value"] > 0


def test_training_pictures_are_refused_unless_asked_for(sign_editor, signs, sign_reader):
    with pytest.raises(ValueError, match="300 of the 300 pictures to judge on were used in training"):
        judge(sign_editor(), signs, split="train", classifier=sign_reader)
    with pytest.raises(ValueError, match="1 of the 60 pictures"):
        judge(sign_editor(), signs, classifier=sign_reader, trained_on=[signs.files[300]])
    marked = judge(sign_editor(), signs, split="train", pictures=20, classifier=sign_reader, measures=EDITS, allow_training_data=True)
    assert marked["on_training_data"] is True and marked["pictures"] == 20 and marked["of"] == 300


def test_selected_attributes_are_edited_and_all_are_looked_at(sign_editor, signs, sign_reader):
    model = sign_editor()
    model.schema = signs.schema.select("lamp")
    judgement = judge(model, signs.select("lamp"), classifier=sign_reader, measures=EDITS)
    assert set(judgement["edits"]["kept_of"]) == {"lamp"}
    assert set(judgement["edits"]["kept_of"]["lamp"]) == {"colour", "stripes"}


def test_what_goes_with_an_edit_is_no_damage(sign_editor, signs, sign_reader):
    options = {"classifier": sign_reader, "goes_with": {"lamp": ["stripes"]}, "measures": EDITS}
    judgement = judge(sign_editor("damaging"), signs, **options)
    assert judgement["edits"]["attributes"]["lamp"]["kept"]["value"] == 1
    assert set(judgement["edits"]["kept_of"]["lamp"]) == {"colour"} and judgement["goes_with"] == {"lamp": ["stripes"]}


def test_one_picture(sign_editor, signs, sign_reader, true_sign):
    judgement = judge(sign_editor(), signs, pictures=1, classifier=sign_reader, render=true_sign, measures=EDITS)
    assert judgement["edits"]["all"]["success"]["n"] == 3
    assert "no judged picture" in judgement["left_out"]["swaps"]


def test_the_same_rows_are_drawn_for_every_method(signs):
    rows = judged_rows(signs, "val", 20)
    assert len(set(rows)) == 20 and set(rows) <= set(signs.rows("val"))
    assert rows.tolist() == judged_rows(signs, "val", 20).tolist() != judged_rows(signs, "val", 20, seed=1).tolist()


def test_truths_are_the_same_drawn_alone_or_in_parallel(monkeypatch):
    jobs = [(row, "lamp", value) for row in range(20) for value in (0.0, 1.0)]
    alone = drawn(lambda row, name, value: row + value, jobs, workers=1)
    monkeypatch.setattr("recombine.metrics.truth.FEW", 10)
    assert drawn(lambda row, name, value: row + value, jobs, workers=2) == alone == [r + v for r, _, v in jobs]
