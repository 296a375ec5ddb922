"""The independent classifier learns, is the same twice, is kept, and knows what it does not know."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score

from recombine.data.packed import write_pack
from recombine.data.schema import Attribute, Schema
from recombine.data.synthetic import avatars, letters
from recombine.evaluation import classifier as classifier_module
from recombine.evaluation.classifier import (
    QUICK,
    THOROUGH,
    Classifier,
    _held_out,
    accuracies,
    bounded,
    judge_classifier,
    train_classifier,
)

SMALL = replace(QUICK, width=8, height=16, images=3_000, evaluations=6, average=0.9, batch=32)


@pytest.fixture(scope="module")
def trained(signs):
    return train_classifier(signs, SMALL)


def test_it_learns_what_can_be_seen(trained, signs):
    report = accuracies(trained, signs, signs.rows("val"))
    assert set(report) == {"colour", "lamp", "stripes"}
    for name, entry in report.items():
        assert entry["accuracy"]["value"] > 0.95, name
        assert entry["accuracy"]["n"] == 60
        counts = np.bincount(signs.labels[name][signs.rows("val")])
        assert entry["majority"] == pytest.approx(counts.max() / 60)


def test_accuracy_agrees_with_scikit_learn(signs):
    untrained, rows = Classifier(signs.schema, SMALL), signs.rows("val")
    seen = untrained.verdicts(signs.batch(rows).images)
    for name, entry in accuracies(untrained, signs, rows, chunk=7).items():
        assert entry["accuracy"]["value"] == pytest.approx(accuracy_score(signs.labels[name][rows], seen[name]))


def test_the_same_seed_gives_the_same_judge(signs):
    short = replace(SMALL, images=320, evaluations=1)
    torch.manual_seed(1)
    first = train_classifier(signs, short)
    torch.manual_seed(2)
    second, other = train_classifier(signs, short), train_classifier(signs, replace(short, seed=1))
    probe = signs.batch(signs.rows("val")).images
    assert torch.equal(first.probabilities(probe)["colour"], second.probabilities(probe)["colour"])
    assert not torch.equal(first.probabilities(probe)["colour"], other.probabilities(probe)["colour"])


def test_training_leaves_the_global_generator_alone(signs):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train_classifier(signs, replace(SMALL, images=32, evaluations=1))
    assert torch.equal(torch.rand(1), expected)


def test_probabilities_of_any_number_of_pictures(trained, signs):
    images = signs.batch(signs.rows("val")).images
    whole, parts = trained.probabilities(images), trained.probabilities(images, chunk=7)
    assert whole["colour"].shape == (60, 3)
    assert torch.allclose(whole["colour"].sum(1), torch.ones(60), atol=1e-5)
    assert torch.allclose(whole["colour"], parts["colour"], atol=1e-5)
    assert trained.probabilities(images[:1])["lamp"].shape == (1, 2)


def test_validation_pictures_are_never_seen(signs, monkeypatch):
    drawn = []
    batch = type(signs).batch
    monkeypatch.setattr(type(signs), "batch", lambda self, rows, **kw: drawn.extend(rows) or batch(self, rows, **kw))
    train_classifier(signs, replace(SMALL, images=640, evaluations=2))
    assert set(drawn) == set(range(300))


def test_whole_groups_are_held_out(signs):
    rows, aside = _held_out(signs, SMALL)
    assert not set(rows) & set(aside) and len(rows) + len(aside) == 300
    assert not set(signs.labels["maker"][rows]) & set(signs.labels["maker"][aside])
    assert 30 <= len(aside) <= 40


def test_it_is_kept_and_found_again(signs, tmp_path):
    lines = []
    short = replace(SMALL, images=320, evaluations=1)
    first = judge_classifier(signs, tmp_path, short, progress=lines.append)
    assert len(lines) == 2 and "once for this data set" in lines[0] and str(tmp_path) in lines[0]
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    again = judge_classifier(signs, tmp_path, short, progress=lines.append)
    probe = signs.batch(signs.rows("val")).images
    assert len(lines) == 2 and again.info == first.info
    assert torch.equal(first.probabilities(probe)["lamp"], again.probabilities(probe)["lamp"])
    judge_classifier(signs, tmp_path, replace(short, seed=7), progress=lines.append)
    assert len(lines) == 4 and len(list(tmp_path.iterdir())) == 4


def test_a_damaged_judge_is_trained_again(signs, tmp_path):
    short, lines = replace(SMALL, images=64, evaluations=1), []
    for damage in ("safetensors", "json"):
        judge_classifier(signs, tmp_path, short)
        [path] = tmp_path.glob(f"*.{damage}")
        path.write_bytes(path.read_bytes()[:50])
        judge_classifier(signs, tmp_path, short, progress=lines.append)
    assert len(lines) == 4


def test_a_judge_that_cannot_be_kept_still_judges(signs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="cannot be kept in .*file and will be trained again"):
        judge = judge_classifier(signs, tmp_path / "file", replace(SMALL, images=64, evaluations=1))
    assert judge.names == ("colour", "lamp", "stripes")


def test_the_time_left_is_said_before_the_first_look(signs, tmp_path):
    lines = []
    judge_classifier(signs, tmp_path, replace(SMALL, images=640, evaluations=2), progress=lines.append)
    assert len(lines) == 4 and all("left" in line for line in lines[1:3]) and "left" not in lines[3], lines


def test_a_small_data_set_is_seen_a_bounded_number_of_times():
    assert bounded(QUICK, 480) is QUICK and bounded(THOROUGH, 1_000) is THOROUGH, "normal data sets keep their classifier"
    few = bounded(THOROUGH, 100)
    assert few.images == 10_000 and few.average == pytest.approx(0.968) and few != THOROUGH
    assert bounded(QUICK, 0).images == QUICK.batch


def test_presets_are_bounded_and_own_settings_are_not(signs, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("recombine.evaluation.classifier.train_classifier", lambda pack, settings, **_: seen.append(settings) or train_classifier(pack, replace(SMALL, images=32)))
    for preset in ("auto", SMALL):
        judge_classifier(signs, tmp_path, preset)
    assert [settings.images for settings in seen] == [30_000, 30_000, 3_000], "quick, thorough, as given"


def test_missing_labels_teach_nothing(signs, tmp_path):
    """Where the lamp is unlabelled it is drawn at random; wrong guesses in its place would spoil the classifier."""
    schema = signs.schema.select("lamp", "stripes")
    lamp = signs.labels["lamp"].copy()
    lamp[:150] = -1
    columns = {"lamp": lamp, "stripes": signs.labels["stripes"]}
    pack = write_pack(tmp_path, np.asarray(signs.images[:]), schema, signs.files, columns, signs.splits)
    report = accuracies(train_classifier(pack, SMALL), pack, pack.rows("val"))
    assert report["lamp"]["accuracy"]["value"] > 0.95
    assert accuracies(train_classifier(pack, replace(SMALL, images=32)), pack, np.arange(100)).keys() == {"stripes"}


def test_mirrored_labels_are_judged_mirrored():
    facing = Attribute("facing", "categorical", ("left", "front", "right"), mirror=(("left", "right"),))
    side = Attribute("left_handed", "binary", ("0", "1"), mirror="negate")
    judge = Classifier(Schema((facing, side), 16, 16), SMALL)
    images = torch.rand(4, 3, 16, 16) * 2 - 1
    plain, mirrored = judge.probabilities(images), judge.probabilities(images.flip(-1))
    assert torch.allclose(plain["facing"], mirrored["facing"].flip(1), atol=1e-6)
    assert torch.allclose(plain["left_handed"], mirrored["left_handed"].flip(1), atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 11, 40), (3, 200, 100), (5, 8, 8)])
def test_pictures_of_any_shape(shape):
    channels, height, width = shape
    judge = Classifier(Schema((Attribute("a", "binary", ("0", "1")),), height, width, channels), SMALL)
    assert judge.probabilities(torch.zeros(2, *shape))["a"].shape == (2, 2)


def test_nothing_to_read_is_refused(signs):
    with pytest.raises(ValueError, match="a classifier needs a binary or categorical attribute"):
        Classifier(Schema((Attribute("age", "continuous"),)))
    with pytest.raises(ValueError, match="no preset 'fast' of the classifier; there are auto, quick, thorough"):
        judge_classifier(signs, preset="fast")


def test_letters_are_not_judged_by_their_mirror_images(tmp_path):
    # A mirrored S is no S: the presets for letters neither learn from nor read mirrored ones.
    pack = letters.build(tmp_path / "letters", 40, 16, progress=False)
    asked = []

    def stored(pack, folder, settings, device, progress):
        asked.append(settings)
        raise StopIteration

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier_module, "_stored", stored)
        for data in (pack, avatars.build(tmp_path / "avatars", 40, 16, progress=False)):
            with pytest.raises(StopIteration):
                judge_classifier(data, preset="quick")
    assert [settings.mirrored for settings in asked] == [False, True]
