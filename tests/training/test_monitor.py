"""The monitor's measures, and the causes that it names."""

import pytest
from PIL import Image

from recombine.commands.options import watcher
from recombine.evaluation.measures import MEASURES
from recombine.training.monitor import EditMonitor, Score, affordable, diagnose, last_rise, score
from recombine.training.recipe import Recipe, TrainConfig


@pytest.mark.parametrize(("kind", "success"), [("perfect", 1.0), ("ignoring", 0.0)])
def test_edit_success_of_methods_whose_answer_is_known(signs, sign_editor, sign_reader, tmp_path, kind, success):
    pack = signs.select("colour", "lamp", "stripes")
    model = sign_editor(kind)
    measures = EditMonitor(pack, sign_reader, images=40, shown=5)(model, tmp_path / "grids" / "1.png")
    assert measures["edit_success/all"] == success
    assert (measures["sensitivity"] > 0.05) == (kind == "perfect")
    assert measures["mse"] == pytest.approx(0.0, abs=1e-6)
    assert measures["edit_kept/all"] == 1.0
    assert {key.split("/")[0] for key in measures} == {"mse", "sensitivity", "edit_success", "edit_kept", "edit_noise"}
    assert {key.split("/")[0] for key in measures} - {"edit_noise"} <= set(MEASURES)
    with Image.open(tmp_path / "grids" / "1.png") as grid:
        assert grid.width > 5 * 16


def test_an_evaluation_stays_within_its_budget(signs, sign_editor, sign_reader, tmp_path, monkeypatch):
    pack, model, decoded = signs.select("colour", "lamp", "stripes"), sign_editor("perfect"), []
    decode = type(model).decode
    monkeypatch.setattr(type(model), "decode", lambda self, codes: decoded.append(codes.batch_size) or decode(self, codes))
    for made in (110, 330):
        monitor = EditMonitor(pack, sign_reader, shown=4, made=made)
        decoded.clear()
        monitor(model, tmp_path / "1.png")
        assert len(monitor.rows) == made // 11 and sum(decoded) <= made + 4 * 4
    assert len(EditMonitor(pack, sign_reader, made=0).rows) == 8
    assert len(EditMonitor(signs, sign_reader, made=110).rows) == 8  # were all five edited, 110 // 17 and not fewer than are shown
    assert len(EditMonitor(signs, sign_reader, made=110, attributes=["lamp", "stripes"]).rows) == 110 // 8
    assert affordable(TrainConfig()) == 2_000 and affordable(TrainConfig(images=500)) == 50


@pytest.mark.parametrize(("named", "edited"), [(("lamp",), ("lamp",)), ((), ("colour", "lamp", "stripes"))])
def test_a_training_counts_what_its_model_edits(signs, monkeypatch, named, edited):
    made = []
    monkeypatch.setattr("recombine.training.monitor.EditMonitor", lambda *_, **options: made.append(options) or (lambda *_: {}))
    watcher(signs, "none", Recipe("advattr", None, TrainConfig(), attributes=named))(None, None)
    assert made == [{"made": 2_000, "attributes": edited}]


def test_scores_by_hand():
    assert score({"edit_success/all": 0.8, "edit_kept/all": 0.5, "mse": 0.01}, 10) == (10, pytest.approx(0.3), 0.05)
    assert score({"edit_success/all": 0.8, "mse": 0.0, "edit_noise": 0.1}, 10) == (10, 0.8, 0.1)
    assert score({"mse": 0.01}, 10) is None
    assert Score(3, 0.86).reaches(Score(2, 0.9)) and not Score(3, 0.84).reaches(Score(2, 0.9))
    assert Score(3, 0.84, 0.07).reaches(Score(2, 0.9)) and Score(3, 0.84).reaches(Score(2, 0.9, 0.07))
    course = [Score(10 * place, value) for place, value in enumerate((0.5, 0.54, 0.56, 0.60, 0.3))]
    assert last_rise(course) == (20, 0.56, 0.05) and last_rise(course[:1]) == (0, 0.5, 0.05)
    assert last_rise([*course, Score(50, 0.8, 0.25), Score(60, 0.82)]) == (60, 0.82, 0.05)


def test_named_causes():
    assert diagnose({"sensitivity": 0.05, "edit_success/all": 0.9, "critic_accuracy": 0.8}, 0.9) == {}
    assert list(diagnose({"sensitivity": 0.0005, "edit_success/all": 0.05}, 0.5)) == ["decoder ignores the labels"]
    assert list(diagnose({"sensitivity": 0.05, "edit_success/all": 0.05}, 0.5)) == ["edits fail"]
    assert list(diagnose({"sensitivity": 0.05, "critic_accuracy": 0.995}, 0.5)) == ["critic wins"]
    ignored = diagnose({"sensitivity": 0.0005}, 0.5, hints=("aux_weight", "kl_weight"))["decoder ignores the labels"]
    assert ignored.endswith("raise the weight of what keeps labels out of it: aux_weight, kl_weight")
    assert diagnose({"sensitivity": 0.0005, "edit_success/all": 0.0, "critic_accuracy": 1.0}, 0.01) == {}, "too early to say"
