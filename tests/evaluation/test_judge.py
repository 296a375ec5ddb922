"""The whole judgement, on editors whose every number is known."""

import json

import numpy as np
import pytest
import torch
from compact_editor import CompactEditor, PairEditor
from conftest import SIGNS, SignReader

from recombine.codes import Codes
from recombine.data.packed import write_pack
from recombine.data.synthetic.truth import render_all
from recombine.evaluation import judge as judging
from recombine.evaluation.judge import SECTIONS, judged_rows
from recombine.evaluation.judgement import Protocol
from recombine.method import Role
from recombine.metrics.realism import Extractor

MEANS = Extractor("means", lambda images: torch.nn.functional.avg_pool2d(images, 8).flatten(1))
EDITS = ("reconstruction", "sensitivity", "judge", "edits", "swaps", "truth")



def judge(*arguments, **options):
    """A judgement in the form in which it is written."""
    return judging.judge(*arguments, **options).to_json()


@pytest.fixture
def judgement(sign_editor, signs, sign_reader, true_sign):
    return judge(sign_editor(), signs, classifier=sign_reader, render=true_sign, truths=40, sections=EDITS)


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
    judgement = judge(sign_editor("ignoring"), signs, classifier=sign_reader, render=true_sign, truths=40, sections=EDITS)
    assert judgement["reconstruction"]["psnr"]["value"] == pytest.approx(100)
    assert judgement["edits"]["all"]["success"]["value"] == 0 == judgement["sensitivity"]["colour"]["value"]
    truth = judgement["truth"]["edits"]["psnr"]["all"]
    assert truth["edited"]["value"] == pytest.approx(truth["original"]["value"])


def test_what_cannot_be_measured_is_left_out_with_its_reason(sign_editor, signs, sign_reader, tmp_path):
    judgement = judge(sign_editor(), signs, classifier=sign_reader, sections=EDITS)
    assert "truth" not in judgement and "drawn, not photographed" in judgement["left_out"]["truth"]
    columns, schema = {"shade": signs.labels["shade"]}, signs.schema.select("shade")
    unlabelled = write_pack(tmp_path, np.asarray(signs.images[:]), schema, signs.files, columns, signs.splits)
    judgement = judge(sign_editor(), unlabelled, sections=EDITS)
    assert "binary or categorical" in judgement["left_out"]["judge"]
    assert "no independent classifier" in judgement["left_out"]["edits"]
    assert "no part of its own" in judgement["left_out"]["lamp"]
    assert judgement["sensitivity"]["shade"]["value"] > 0


def test_training_pictures_are_refused_unless_asked_for(sign_editor, signs, sign_reader):
    with pytest.raises(ValueError, match="300 of the 300 images to judge on were used in training"):
        judge(sign_editor(), signs, split="train", classifier=sign_reader)
    with pytest.raises(ValueError, match="1 of the 60 images"):
        judge(sign_editor(), signs, classifier=sign_reader, trained_on=[signs.files[300]])
    marked = judge(sign_editor(), signs, split="train", images=20, classifier=sign_reader, sections=EDITS, allow_training_data=True)
    assert marked["on_training_data"] is True and marked["pictures"] == 20 and marked["of"] == 300


def test_selected_attributes_are_edited_and_all_are_looked_at(sign_editor, signs, sign_reader):
    model = sign_editor()
    model.schema = signs.schema.select("lamp")
    judgement = judge(model, signs.select("lamp"), classifier=sign_reader, sections=EDITS)
    assert set(judgement["edits"]["kept_of"]) == {"lamp"}
    assert set(judgement["edits"]["kept_of"]["lamp"]) == {"colour", "stripes"}


def test_what_goes_with_an_edit_is_no_damage(sign_editor, signs, sign_reader):
    options = {"classifier": sign_reader, "goes_with": {"lamp": ["stripes"]}, "sections": EDITS}
    judgement = judge(sign_editor("damaging"), signs, **options)
    assert judgement["edits"]["attributes"]["lamp"]["kept"]["value"] == 1
    assert set(judgement["edits"]["kept_of"]["lamp"]) == {"colour"} and judgement["goes_with"] == {"lamp": ["stripes"]}


def test_one_picture(sign_editor, signs, sign_reader, true_sign):
    judgement = judge(sign_editor(), signs, images=1, classifier=sign_reader, render=true_sign, sections=EDITS)
    assert judgement["edits"]["all"]["success"]["n"] == 3
    assert "no judged image" in judgement["left_out"]["swaps"]


def test_the_same_rows_are_drawn_for_every_method(signs):
    rows = judged_rows(signs, "val", 20)
    assert len(set(rows)) == 20 and set(rows) <= set(signs.rows("val"))
    assert rows.tolist() == judged_rows(signs, "val", 20).tolist() != judged_rows(signs, "val", 20, seed=1).tolist()


@pytest.mark.parametrize("images", [0, -5])
def test_no_image_is_refused(sign_editor, signs, images):
    with pytest.raises(ValueError, match=f"a judgement needs 1 image or more, not {images}"):
        judge(sign_editor(), signs, images=images)


def test_truths_are_the_same_drawn_alone_or_in_parallel(monkeypatch):
    jobs = [(row, "lamp", value) for row in range(20) for value in (0.0, 1.0)]
    alone = render_all(lambda row, name, value: row + value, jobs, workers=1)
    monkeypatch.setattr("recombine.data.synthetic.truth.FEW", 10)
    assert render_all(lambda row, name, value: row + value, jobs, workers=2) == alone == [r + v for r, _, v in jobs]


@pytest.fixture(scope="module")
def codes(signs):
    """The judgement of the codes of an editor whose every part is known, by probes that are trained for a shorter time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recombine.metrics.leakage.DROPOUTS", (0.0,))
        patch.setattr("recombine.metrics.probes.EPOCHS", 30)
        return judge(CompactEditor(), signs, classifier=SignReader(), extractor=MEANS, sections=set(SECTIONS) - set(EDITS))


def test_a_part_of_an_attribute_carries_it_and_the_rest_nothing(codes):
    assert codes["carries"] == {"colour": ["colour"], "lamp": ["lamp"], "stripes": ["stripes"], "shade": ["shade"], "rest": []}
    assert set(codes["seconds"]) == {"carries", *set(SECTIONS) - set(EDITS)}


def test_parts_of_a_perfect_editor_move_what_they_carry(codes):
    assert set(codes["parts"]["parts"]) == {"colour", "lamp", "stripes"}
    assert codes["parts"]["all"]["success"]["value"] == codes["parts"]["all"]["kept"]["value"] == 1


def test_what_parts_tell_is_found_and_what_they_do_not_is_not(codes):
    for probe in ("linear", "two_layer"):
        matrix = codes["leakage"]["matrix"][probe]
        assert set(matrix) == set(codes["carries"]) and set(matrix["rest"]) == {"colour", "lamp", "stripes", "shade"}
        for name in ("colour", "lamp", "stripes"):
            assert matrix[name][name]["accuracy"]["value"] == 1
            assert matrix["rest"][name]["accuracy"]["value"] > 0.95       # the whole image, only smaller
        assert matrix["shade"]["shade"]["r2"]["value"] > 0.95
        # Nine cells tell nothing, three everything: what these are above guessing, shared out.
        above = sum(matrix["rest"][name]["above"]["value"] for name in ("colour", "lamp", "stripes"))
        assert codes["leakage"]["off_part"][probe]["value"] == pytest.approx(above / 12, abs=0.04)
    assert codes["leakage"]["learnt_from"] == 300


def test_probes_are_unsure_where_there_is_nothing(codes):
    matrix = codes["entropy"]["matrix"]
    assert "lamp" not in matrix["lamp"] and matrix["lamp"]["colour"]["value"] > 0.9 and matrix["rest"]["lamp"]["value"] < 0.3
    assert matrix["lamp"]["colour"]["prior"] == pytest.approx(1, abs=0.02)


def test_parts_that_say_the_same_share_information(codes):
    found = codes["information"]
    assert found["between"] == [["colour", "lamp", "stripes", "shade"], ["rest"]]
    assert found["value"] > 1 and found["n"] == 60 and found["low"] < found["value"] < found["high"]


def test_rebuilt_pictures_are_as_real_as_the_originals(codes):
    found = codes["realism"]
    assert found["extractor"] == "means" and set(found) == {"extractor", "reconstructions", "swaps", "real"}
    assert found["reconstructions"]["frechet"]["value"] == pytest.approx(0, abs=1e-3)
    assert found["reconstructions"]["kid"]["n"] == 60 == found["real"]["frechet"]["n"]
    assert found["swaps"]["kid"]["value"] < 0.05


def test_makers_that_no_picture_shows_are_not_recognised(codes):
    found = codes["recognition"]["maker"]
    assert set(found["verification"]) == set(found["retrieval"]) == set(codes["carries"])
    for part in codes["carries"]:
        assert found["verification"][part]["value"] < 0.6 and found["retrieval"][part]["map"]["value"] < 2 * found["retrieval_by_chance"]
    assert found["retrieval_by_chance"] == pytest.approx(9 / 59)
    assert "identity_kept" not in found and "says nothing of edits" in codes["left_out"]["maker kept"]


def test_one_number_per_attribute_is_disentangled(codes):
    found = codes["disentanglement"]
    assert found["factors"] == ["colour", "lamp", "stripes", "shade"] and found["numbers"] == 3 + 1 + 1 + 1 + 48
    assert found["dci"]["disentanglement"]["n"] == found["mig"]["all"]["n"] == found["sap"]["all"]["n"] == 60


def test_all_of_it_is_plain_json(codes):
    assert json.loads(json.dumps(codes, allow_nan=False)) == codes


@pytest.fixture(scope="module")
def makers(tmp_path_factory):
    """Signs whose colour and lamp are those of their maker, ten signs each: 20 makers to learn from, 6 to judge."""
    from conftest import draw_sign

    chance, count = np.random.default_rng(0), 260
    labels = {"maker": np.arange(count) // 10, "stripes": chance.integers(0, 2, count), "shade": chance.random(count).astype(np.float32)}
    labels |= {"colour": labels["maker"] % 3, "lamp": labels["maker"] // 3 % 2}
    images = np.stack([draw_sign(*(labels[n][i] for n in ("colour", "lamp", "stripes", "shade"))) for i in range(count)])
    files, splits = [f"{i}.png" for i in range(count)], ["train"] * 200 + ["val"] * 60
    return write_pack(tmp_path_factory.mktemp("makers"), images, SIGNS, files, labels, splits)


def test_parts_learnt_from_pairs_carry_what_the_data_shares(makers):
    found = judge(PairEditor(), makers, classifier=SignReader(), extractor=MEANS, sections=["parts", "leakage", "information", "recognition"])
    assert found["carries"] == {"pose": ["stripes", "shade"], "appearance": ["maker", "colour", "lamp"]}
    assert set(found["parts"]["parts"]) == {"pose", "appearance"} and found["parts"]["all"]["success"]["value"] == 1
    assert found["parts"]["parts"]["appearance"]["kept"]["value"] == found["parts"]["parts"]["pose"]["kept"]["value"] == 1
    assert abs(found["leakage"]["off_part"]["linear"]["value"]) < 0.1
    assert found["information"]["between"] == [["pose"], ["appearance"]] and abs(found["information"]["value"]) < 0.2
    # The six judged makers all have another colour or lamp, and an edit of the pose leaves both alone.
    kept = found["recognition"]["maker"]["identity_kept"]
    assert kept["verifier"]["value"] > 0.95 and set(kept["parts"]) == {"pose"}
    assert kept["kept"]["value"] > 0.95 and kept["original"]["value"] > 0.95 and kept["others"]["value"] < 0.1
    assert found["recognition"]["maker"]["verification"]["appearance"]["value"] == 1 > found["recognition"]["maker"]["verification"]["pose"]["value"]


def test_an_edit_that_makes_it_another_one_is_seen(makers):
    class Forgetful(PairEditor):
        def decode(self, codes):
            # The appearance comes with the pose: whoever gives it is who is seen.
            shown = codes["pose"][:, 2:]
            return super().decode(codes.replace(pose=codes["pose"][:, :2], appearance=shown))

        def encode(self, images):
            codes = super().encode(images)
            return codes.replace(pose=torch.cat([codes["pose"], codes["appearance"]], 1))

    kept = judge(Forgetful(), makers, classifier=SignReader(), extractor=MEANS, sections=["recognition"])["recognition"]["maker"]["identity_kept"]
    assert kept["kept"]["value"] < 0.1 < 0.9 < kept["rebuilt"]["value"]


def test_what_parts_carry_can_be_said(makers):
    options = {"classifier": SignReader(), "sections": ["parts"]}
    found = judge(PairEditor(), makers, roles={"appearance": ["lamp"]}, **options)
    assert found["carries"] == {"pose": [], "appearance": ["lamp"]} and set(found["parts"]["parts"]) == {"appearance"}
    with pytest.raises(ValueError, match="roles names the part 'hat'; the method's parts are pose, appearance"):
        judge(PairEditor(), makers, roles={"hat": ["lamp"]}, **options)
    with pytest.raises(ValueError, match="'pose' carries 'hat'; the data set has maker"):
        judge(PairEditor(), makers, roles={"pose": ["hat"]}, **options)


class OnePart(torch.nn.Module):
    """A method without labels: one code for everything."""

    schema, sampler, kinds, image_size = SIGNS.select("lamp", "stripes"), "iid", (), (16, 16)

    def encode(self, images):
        return Codes(code=images)

    def decode(self, codes):
        return codes["code"]

    def label_code(self, name, value):
        raise NotImplementedError("there are no labels")

    def roles(self):
        return {"code": Role()}


def test_a_method_without_labels_and_with_pictures_for_codes(signs):
    found = judge(OnePart(), signs.select("lamp", "stripes"), classifier=SignReader(), extractor=MEANS)
    assert found["carries"] == {"code": []} and found["leakage"]["matrix"]["linear"]["code"]["lamp"]["accuracy"]["value"] == 1
    assert {"swaps", "parts", "information", "realism of swaps", "off_part"} <= set(found["left_out"])
    assert "no part is meant to carry" in found["left_out"]["off_part"] and "single part" in found["left_out"]["realism of swaps"]
    assert found["disentanglement"]["numbers"] <= 256 and found["reconstruction"]["psnr"]["value"] == 100


def test_too_few_pictures_are_left_out_measure_by_measure(signs):
    found = judge(CompactEditor(), signs, images=6, classifier=SignReader(), extractor=MEANS)
    reasons = found["left_out"]
    assert "probes are judged on 20 images or more, and there are 6" in reasons["leakage"] == reasons["entropy"]
    assert "needs 50 training and 20 judged images, not 300 and 6" in reasons["information"]
    assert "need 40 images, and 6 are judged" in reasons["realism"]
    assert "it needs 20 judged images whose labels are all known, and there are 6" in reasons["disentanglement"]
    assert "fewer than 10 pairs" in reasons["recognition of maker"] and "enough groups have two judged images" in reasons["recognition"]
    assert found["parts"]["all"]["success"]["n"] > 0


def test_without_training_pictures_there_are_no_fresh_probes(signs, tmp_path):
    val = signs.rows("val")
    columns = {name: column[val] for name, column in signs.labels.items()}
    pack = write_pack(tmp_path, np.asarray(signs.images[val]), signs.schema, [signs.files[r] for r in val], columns, ["val"] * 60)
    found = judge(CompactEditor(), pack, classifier=SignReader(), extractor=MEANS, sections=["leakage", "information", "realism", "recognition"])
    assert "training images that are not judged, and there are none" in found["left_out"]["leakage"] == found["left_out"]["information"]
    assert set(found["realism"]) == {"extractor", "reconstructions", "swaps"}
    assert "learnt from 10 training groups of two images, and there are 0" in found["left_out"]["maker kept"]


def test_frechet_of_many_features_is_left_out_and_kid_is_not(signs):
    wide = Extractor("pixels", lambda images: images.flatten(1)[:, ::8])
    found = judge(CompactEditor(), signs, classifier=SignReader(), extractor=wide, sections=["realism"])
    assert "96 features needs 192 images" in found["left_out"]["frechet"] and set(found["realism"]["swaps"]) == {"kid"}
    unseen = judge(CompactEditor(), signs, classifier=SignReader(), sections=["realism"])
    assert "no features to look at" in unseen["left_out"]["realism"]


def test_only_what_is_asked_for_is_measured(signs, monkeypatch):
    def trained(*_, **__):
        raise AssertionError("no classifier is needed")

    monkeypatch.setattr("recombine.evaluation.judge.judge_classifier", trained)
    found = judge(CompactEditor(), signs, sections=["sensitivity", "reconstruction"], perceptual=lambda a, b: (a - b).abs().mean((1, 2, 3)))
    assert list(found["seconds"]) == ["carries", "reconstruction", "sensitivity"]
    assert found["reconstruction"]["lpips"]["value"] < 0.01 and found["left_out"] == {}
    with pytest.raises(ValueError, match=r"no measure 'edit'; there are .*did you mean 'edits'"):
        judge(CompactEditor(), signs, sections=["edit"])


def test_every_image_is_encoded_once(signs, sign_reader, monkeypatch):
    model, encoded = CompactEditor(), []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda images: encoded.append(len(images)) or encode(images))
    monkeypatch.setattr("recombine.metrics.leakage.DROPOUTS", (0.0,))
    monkeypatch.setattr("recombine.metrics.probes.EPOCHS", 2)
    found = judging.judge(model, signs, classifier=sign_reader, extractor=MEANS, images=40, learnt=100, render=lambda *_: None)
    assert {section for section, (field, _) in SECTIONS.items() if getattr(found, field)} >= {"edits", "swaps", "parts", "leakage", "realism", "recognition"}
    assert sum(encoded) == 40 + 100


def test_the_protocol_stands_in_the_judgement_and_narrows_what_codes_are_asked(signs, sign_reader, monkeypatch):
    monkeypatch.setattr("recombine.metrics.probes.EPOCHS", 2)
    sections = ["parts", "leakage", "information", "disentanglement"]
    found = judging.judge(CompactEditor(), signs, classifier=sign_reader, sections=sections, attributes=["lamp"], probes=["two_layer"], learnt=80)
    assert found.protocol == Protocol(80, ("two_layer",), ("lamp",)) and found.to_json()["protocol"]["learnt"] == 80
    assert set(found.leakage.matrix) == set(found.leakage.off_part) == {"two_layer"} and found.leakage.learnt_from == 80
    assert {name for row in found.leakage.matrix["two_layer"].values() for name in row} == {"lamp"} == set(found.disentanglement.factors)
    assert found.information.between == (("lamp",), ("colour", "stripes", "shade", "rest"))
    assert set(found.parts.parts) == {"colour", "lamp", "stripes"}, "swaps are made of every part all the same"
    with pytest.raises(ValueError, match=r"no attribute 'lamps' to look for; .*did you mean 'lamp'"):
        judging.judge(CompactEditor(), signs, classifier=sign_reader, attributes=["lamps"])


def test_a_protocol_that_cannot_be_is_refused_before_anything_is_measured(signs, sign_reader, monkeypatch):
    model = CompactEditor()
    monkeypatch.setattr(model, "encode", lambda images: pytest.fail("an image was encoded"))
    with pytest.raises(ValueError, match=r"no probe 'two_layers'; there are linear, two_layer; did you mean 'two_layer'"):
        judging.judge(model, signs, classifier=sign_reader, probes=["linear", "two_layers"])
    with pytest.raises(ValueError, match="probes learn from 1 training image or more, not 0"):
        judging.judge(model, signs, classifier=sign_reader, learnt=0)
