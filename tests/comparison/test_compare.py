"""Comparisons: from end to end with tiny methods, resumed, shared between processes; and ranks and fronts by hand."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import small_comparison
import torch
from safetensors.torch import load_file
from small_comparison import METHODS, OPTIONS

from recombine.cli import main
from recombine.codes import Codes
from recombine.comparison import compare, plan
from recombine.comparison import finished_runs as found
from recombine.comparison import samples as pictures
from recombine.comparison import worker as work
from recombine.comparison.content import pareto_front, ranking, ranks
from recombine.comparison.page import report
from recombine.data.packed import write_pack
from recombine.evaluation.judgement import Judgement
from recombine.evaluation.measures import COMPARED, MEASURES
from recombine.locks import myself
from recombine.metrics.intervals import Estimate
from recombine.training.engine import Diverged, Interrupted
from recombine.training.recipe import Recipe, TrainConfig
from recombine.training.runs import start

SCRIPT = Path(small_comparison.__file__)


@pytest.fixture(scope="module")
def done(signs, tmp_path_factory):
    """A finished comparison: two methods, two seeds."""
    return small_comparison.run(tmp_path_factory.mktemp("compare") / "done", signs, command="recombine compare signs").parent


def table(out):
    """(method, metric) -> row of table.csv."""
    return {(row["method"], row["metric"]): row for row in csv.DictReader((out / "table.csv").read_text().splitlines())}


def judgements(out):
    return {path.relative_to(out).as_posix(): path.stat().st_mtime_ns for path in out.rglob("judgement.json")}


def weights(out, method="ifcvaegan-tiny", seed=0):
    return load_file(out / "runs/signs" / method / str(seed) / "model/weights.safetensors")


# The whole


def test_every_cell_is_a_run_with_its_judgement(done):
    names = {f"runs/signs/{m}/{s}/judgement.json" for m in ("ifcvaegan-tiny", "matdr-tiny") for s in (0, 1)}
    assert set(judgements(done)) == names
    plan = json.loads((done / "plan.json").read_text())
    assert plan["methods"] == list(METHODS) and plan["seeds"] == [0, 1] and plan["budget"] == {"images": 192, "seconds": None}
    assert plan["settings"]["signs"]["matdr:tiny"]["from"] == "preset tiny" and plan["commands"] == ["recombine compare signs"]
    for method, images in (("ifcvaegan-tiny", 192), ("matdr-tiny", 96)):  # a pair counts as two images
        for seed in (0, 1):
            train = json.loads((done / f"runs/signs/{method}/{seed}/config.json").read_text())["train"]
            assert (train["images"], train["seed"]) == (images, seed)
    assert not list(done.rglob("*claim*"))


def test_table_page_and_json_say_the_same_numbers(done):
    content = json.loads((done / "report.json").read_text())
    text, page = (done / "report.md").read_text(), (done / "report.html").read_text()
    rows = table(done)
    assert {metric for _, metric in rows} == {"success", "kept", "reconstruction_db", "ssim", "edit_success", "edit_kept"}
    for (method, metric), row in rows.items():
        found = content["data"]["signs"]["methods"][method]["metrics"][metric]
        assert [float(row[name]) for name in ("value", "low", "high")] == [found[name] for name in ("value", "low", "high")]
        assert [int(row["rank_best"]), int(row["rank_worst"])] == found["rank"] and int(row["seeds"]) == 2
        value = 100 * found["value"] if row["unit"] == "%" else found["value"]
        shown = f"{value:.1f}" if row["unit"] in ("%", "dB") else f"{value:.3f}"
        assert f"| {shown} (" in text and f"<b>{shown}</b>" in page
    single = [MEASURES["kept"].read(Judgement.from_json(json.loads((done / f"runs/signs/matdr-tiny/{s}/judgement.json").read_text()))).value for s in (0, 1)]
    assert float(rows["matdr:tiny", "kept"]["value"]) == pytest.approx(sum(single) / 2)


def test_page_shows_all_and_needs_nothing_from_outside(done):
    found = []

    class Page(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.append((tag, dict(attributes)))

    text = (done / "report.html").read_text()
    Page().feed(text)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in found}
    links = [value for _, attributes in found for name, value in attributes.items() if name in ("src", "href")]
    assert links and all(value.startswith("data:image/") for value in links)
    assert "url(" not in text and "@import" not in text and not re.search(r"https?://", re.sub(r"base64,[^\"]*", "", text))
    for alt in ("colour, matdr:tiny", "lamp, source"):
        assert any(alt in (attributes.get("alt") or "") for tag, attributes in found if tag == "img"), alt
    drawn = [attributes["aria-label"] for tag, attributes in found if tag == "svg"]
    for label in ("colour coloured by colour", "rest coloured by lamp"):
        assert drawn.count(label) == 2
    assert {"ifcvaegan:tiny while it trains", "matdr:tiny while it trains", "critic while it trains", "success of swaps against damage"} <= set(drawn)
    assert "recombine compare signs" in text and "plan.json" in text


def test_what_was_not_measured_is_said_with_its_reason(done):
    assert "not measured: leakage of ifcvaegan:tiny, matdr:tiny: it was not asked for" in (done / "report.md").read_text()


def test_a_second_call_trains_and_judges_nothing(done, signs, monkeypatch):
    before, text = judgements(done), (done / "table.csv").read_text()
    monkeypatch.setattr(work, "start", lambda *_, **__: pytest.fail("trained again"))
    small_comparison.run(done, signs)
    assert judgements(done) == before and (done / "table.csv").read_text() == text


def test_more_seeds_and_methods_may_be_added_and_another_plan_is_refused(done, signs, monkeypatch):
    monkeypatch.setattr(work.Worker, "visit", lambda *_: None)
    plan = (done / "plan.json").read_text()
    try:
        small_comparison.run(done, signs, methods=("ifcvaegan:kl_weight=0",), seeds=3)
        now = json.loads((done / "plan.json").read_text())
        assert now["seeds"] == [0, 1, 2] and now["methods"] == [*METHODS, "ifcvaegan:kl_weight=0"]
        assert now["settings"]["signs"]["ifcvaegan:kl_weight=0"]["config"]["kl_weight"] == 0
        with pytest.raises(ValueError, match=r"holds another comparison: budget.images was 192, now 64; give another folder"):
            small_comparison.run(done, signs, budget=compare.Budget(images=64))
        with pytest.raises(ValueError, match=r"data.signs.attributes was \['colour', 'lamp'\], now \['lamp'\]"):
            small_comparison.run(done, signs, attributes=("lamp",))
        with pytest.raises(ValueError, match=r"judging.pictures was 24, now 10"):
            small_comparison.run(done, signs, judging=compare.Judging(10, sections=small_comparison.JUDGING.sections))
    finally:
        (done / "plan.json").write_text(plan)
        report(done)


def test_a_stopped_cell_goes_on_to_the_same_bits(done, signs, tmp_path, monkeypatch):
    looks = []

    class Stopping(work.EditMonitor):
        def __call__(self, model, path):
            looks.append(path)
            if len(looks) == 3:
                os.kill(os.getpid(), signal.SIGUSR1)
            return super().__call__(model, path)

    options = {"methods": METHODS[:1], "seeds": [0]}
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(work, "EditMonitor", Stopping)
        small_comparison.run(tmp_path, signs, **options)
    cell = tmp_path / "runs/signs/ifcvaegan-tiny/0"
    assert not (cell / "judgement.json").exists() and not (cell / "claim").exists()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (cell / "claim").write_text(json.dumps({**myself(), "pid": gone.pid, "started": "1"}))  # as a killed process leaves it
    (cell / "lock").write_text(json.dumps({**myself(), "host": "elsewhere"}))  # and one on another machine
    small_comparison.run(tmp_path, signs, **options)
    now, whole = weights(tmp_path), weights(done)
    assert all(torch.equal(now[name], whole[name]) for name in whole)
    assert json.loads((cell / "judgement.json").read_text())["parts"] == json.loads((done / "runs/signs/ifcvaegan-tiny/0/judgement.json").read_text())["parts"]


@pytest.mark.slow
def test_two_processes_make_the_table_that_one_makes(done, signs, tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, SCRIPT.parents[:2])), "OMP_NUM_THREADS": "1"}
    other = subprocess.Popen([sys.executable, SCRIPT, tmp_path, signs.path, "2/2"], env=environment, stderr=subprocess.PIPE)
    small_comparison.run(tmp_path, signs, shard=(1, 2))
    assert other.communicate()[1].count(b"Traceback") == 0 == other.returncode
    assert (tmp_path / "table.csv").read_text() == (done / "table.csv").read_text()
    assert not list(tmp_path.rglob("*claim*"))


def test_shards_share_all_cells_out_and_none_twice(signs, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(work.Worker, "visit", lambda self, cell, called: seen.append((cell.method, cell.seed)))
    for i in (1, 2, 3):
        small_comparison.run(tmp_path, signs, shard=(i, 3))
    assert sorted(seen) == [(method, seed) for method in METHODS for seed in (0, 1)]


# What goes wrong


def test_who_cannot_work_or_fails_is_listed_and_stops_nobody(signs, tmp_path, monkeypatch):
    def diverging(recipe, *rest, **options):
        if recipe.method == "matdr":
            raise Diverged("3 steps in a row were not finite: critic/real is nan")
        return start(recipe, *rest, **options)

    monkeypatch.setattr(work, "start", diverging)
    small_comparison.run(tmp_path, signs, methods=("cyclegan", "matdr:tiny", "rodi", "ifcvaegan:tiny"), seeds=[0], pair_by="nobody")
    text = (tmp_path / "report.md").read_text()
    assert re.search(r"- cyclegan, seed 0: cannot work with this data: .*binary", text)
    assert "- matdr:tiny, seed 0: training failed: 3 steps in a row were not finite: critic/real is nan" in text
    assert "- rodi: cannot work with this data: pairs are drawn by 'nobody', which the data set does not have" in text
    assert {method for method, _ in table(tmp_path)} == {"ifcvaegan:tiny"}
    monkeypatch.setattr(work, "start", lambda *_, **__: pytest.fail("tried again"))
    small_comparison.run(tmp_path, signs, methods=("matdr:tiny",), seeds=[0])
    monkeypatch.setattr(work, "start", start)
    small_comparison.run(tmp_path, signs, methods=("matdr:tiny",), seeds=[0], retry=True)
    assert ("matdr:tiny", "kept") in table(tmp_path)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"methods": ("ifcvaegam",)}, "no method 'ifcvaegam'.*did you mean 'ifcvaegan'"),
        ({"methods": ("ifcvaegan:tyni",)}, "ifcvaegan has no preset 'tyni'; it has .*tiny"),
        ({"methods": ("ifcvaegan:aux=0",)}, "no setting 'aux'"),
        ({"methods": ()}, "nothing to compare"),
        ({"seeds": 0}, "seeds are one or more"),
        ({"shard": (3, 2)}, "not 3/2"),
        ({"attributes": ("hat",)}, "no data set has an attribute 'hat'"),
        ({"attributes": ("maker",)}, "no data set has an attribute 'maker' with values"),
        ({"judging": compare.Judging(sections=("leaks",))}, "no measure 'leaks'"),
        ({"judging": compare.Judging(images=0)}, "a judgement needs 1 image or more, not 0"),
        ({"judging": compare.Judging(probes=("cubic",))}, "no probe 'cubic'; there are linear, two_layer"),
        ({"judging": compare.Judging(split="train")}, "every run is trained on the split 'train'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(options, text, signs, tmp_path):
    with pytest.raises(ValueError, match=text):
        small_comparison.run(tmp_path / "new", signs, **options)
    assert not (tmp_path / "new").exists()


def test_a_budget_is_images_or_seconds():
    for wrong in ({}, {"images": 3, "seconds": 2.0}):
        with pytest.raises(ValueError, match="give one of them"):
            compare.Budget(**wrong)
    with pytest.raises(ValueError, match="more than 0, not 0"):
        compare.Budget(images=0)


def test_seconds_become_images_by_a_speed_that_is_measured_once(signs, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(work, "speed_of", lambda recipe, pack: asked.append(recipe.method) or 32.0)
    small_comparison.run(tmp_path, signs, methods=METHODS[:1], budget=compare.Budget(seconds=3.0))
    runs = [json.loads((tmp_path / f"runs/signs/ifcvaegan-tiny/{seed}/config.json").read_text()) for seed in (0, 1)]
    assert [run["train"]["images"] for run in runs] == [96, 96] and asked == ["ifcvaegan"]
    assert "3 seconds of training for each" in (tmp_path / "report.html").read_text()


def test_whether_images_are_mirrored_is_found_out_once_for_all_methods(signs, tmp_path, monkeypatch):
    asked, mirrored = [], []
    monkeypatch.setattr(work, "handedness", lambda pack: asked.append(pack) or SimpleNamespace(mirror=False))
    monkeypatch.setattr(work, "start", lambda recipe, *rest, **options: mirrored.append(recipe.train.mirror) or 1 / 0)
    small_comparison.run(tmp_path, signs)
    assert mirrored == [False] * 4 and len(asked) == 1
    assert json.loads((tmp_path / "mirrored/signs.json").read_text())["mirror"] is False


def test_speed_is_samples_a_second_of_a_trial(signs, monkeypatch):
    seen = []
    monkeypatch.setattr(work, "training_seconds", lambda run: seen.append(work.read_log(run / "log.jsonl")[-1]["images"]) or 4.0)
    recipe, _ = plan.recipe_for("ifcvaegan", signs, ("lamp",))
    images = work.TRIAL * recipe.train.batch_size
    assert work.speed_of(replace(recipe, config=small_comparison.ifcvaegan.TINY), signs) == images / 4 and seen == [images]


def test_seconds_of_a_training_leave_evaluations_out(tmp_path):
    lines = [
        {"images": 10, "loss": 1, "learning_rate": 1, "images_per_second": 10.0},
        {"images": 20, "loss": 1, "learning_rate": 1, "images_per_second": 5.0},
        {"images": 20, "edit_success/all": 1},
        {"images": 24, "edit_success/all": 1, "images_per_second": 0.1},
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"ima')
    assert work.training_seconds(tmp_path) == pytest.approx(3 * 24 / 20)


# Runs that were trained before


@pytest.fixture(scope="module")
def runs(signs, tmp_path_factory):
    """Two runs with different attributes."""
    folder, train = tmp_path_factory.mktemp("runs"), TrainConfig(images=32, batch_size=16)
    for name, attributes in (("a", ("colour", "lamp")), ("b", ("lamp", "stripes"))):
        start(Recipe("ifcvaegan", small_comparison.ifcvaegan.TINY, train, attributes=attributes), signs, folder / name, quiet=True)
    return folder


def compared(out, runs, data=None, **options):
    return compare.compare_runs(out, runs, data, classifier=OPTIONS["classifier"], **{"judging": OPTIONS["judging"], **options}).parent


def test_runs_are_compared_on_what_they_share_and_the_rest_is_said(runs, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    out = compared(tmp_path / "ab", [runs / "a", runs / "b"])
    text = (out / "report.md").read_text()
    assert "Compared on lamp." in text
    assert "- a also learnt colour, which not all runs did" in text and "- b also learnt stripes" in text
    rows, content = table(out), json.loads((out / "report.json").read_text())
    (name,) = content["data"]
    judgement = json.loads((out / f"runs/{name}/a/0/judgement.json").read_text())
    assert float(rows["a", "edit_success"]["value"]) == judgement["edits"]["attributes"]["lamp"]["success"]["value"] != judgement["edits"]["all"]["success"]["value"]
    assert float(rows["a", "kept"]["value"]) == judgement["parts"]["parts"]["lamp"]["kept"]["value"]
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before


def test_runs_of_one_setting_are_seeds_of_one_method(done):
    alike = [found.FinishedRun(done / f"runs/signs/ifcvaegan-tiny/{seed}") for seed in (0, 1)]
    other = found.FinishedRun(done / "runs/signs/matdr-tiny/0")
    assert list(found.grouped([*alike, other]).values()) == ["ifcvaegan", "ifcvaegan", "0"]
    before = alike[1].about()
    alike[1].config["train"] = {**alike[1].config["train"], "keep": "best"}
    assert list(found.grouped(alike).values()) == ["0", "1"]
    for name in ("keep", "minutes", "plateau_images"):
        del alike[1].config["train"][name]  # as earlier versions wrote it
    assert alike[1].about() == before


def test_runs_that_share_nothing_are_refused(runs, tmp_path):
    with pytest.raises(ValueError, match=r"share no attribute that could be compared: .*a has colour, lamp; .*b has lamp, stripes"):
        compared(tmp_path, [runs / "a", runs / "b"], attributes=("shade",))
    with pytest.raises(ValueError, match=r"is no run: there is no config\.json"):
        compared(tmp_path, [tmp_path])


def test_pictures_that_a_run_was_trained_on_are_refused_unless_asked_for_and_marked(runs, signs, tmp_path):
    order = np.roll(np.arange(len(signs)), 200)  # the same images, split anew
    labels = {name: np.asarray(column)[order] for name, column in signs.labels.items()}
    other = write_pack(tmp_path / "other", np.asarray(signs.images[:])[order], signs.schema, [f"new {i}" for i in order], labels, list(signs.splits))
    with pytest.raises(ValueError, match=r"a was trained on \d+ of the 60 images of the split 'val' of other"):
        compared(tmp_path / "x", [runs / "a"], {"other": other})
    judging = compare.Judging(24, allow_training_data=True, sections=("reconstruction",))
    out = compared(tmp_path / "x", [runs / "a"], {"other": other}, judging=judging)
    assert "judged on images that they were trained on" in (out / "report.md").read_text()
    assert '<p class="warning">Some runs are judged on images that they were trained on' in (out / "report.html").read_text()


# Ranking by hand


def around(low, high):
    return Estimate((low + high) / 2, low, high, 10)


def test_ranks_tie_where_intervals_overlap():
    found = {"a": around(0.8, 0.9), "b": around(0.7, 0.85), "c": around(0.5, 0.75), "d": around(0.1, 0.2)}
    assert ranks(found, "higher") == {"a": (1, 2), "b": (1, 3), "c": (2, 3), "d": (4, 4)}
    assert ranks(found, "lower") == {"a": (3, 4), "b": (2, 4), "c": (2, 3), "d": (1, 1)}
    assert ranks({"a": around(1.0, 1.0), "b": around(1.0, 1.0)}, "higher") == {"a": (1, 2), "b": (1, 2)}


def test_pareto_optimal_is_what_no_other_beats_in_both():
    points = {"a": (0.9, 0.6), "b": (0.8, 0.8), "c": (0.8, 0.7), "d": (0.2, 0.95), "e": (0.2, 0.9), "twin of b": (0.8, 0.8)}
    assert pareto_front(points) == {"a", "b", "d", "twin of b"}


def number(value, half=0.01, n=100):
    return {"value": value, "low": value - half, "high": value + half, "n": n}


PLAIN = {
    "carries": {"pose": ["mouth", "gaze"], "appearance": ["hair"]},
    "parts": {
        "all": {"success": number(0.5), "kept": number(0.9)},
        "parts": {
            "pose": {"success": number(0.4), "kept": number(0.8), "attributes": {"mouth": number(0.2), "gaze": number(0.6)}},
            "appearance": {"success": number(0.7), "kept": number(1.0), "attributes": {"hair": number(0.7)}},
        },
    },
    "leakage": {
        "matrix": {"two_layer": {
            "pose": {"mouth": {"probe": "two_layer", "above": number(0.9)}, "gaze": {"probe": "two_layer", "above": number(0.9)}, "hair": {"probe": "two_layer", "above": number(0.3)}},
            "appearance": {"mouth": {"probe": "two_layer", "above": number(0.1)}, "gaze": {"probe": "two_layer", "above": number(0.7)}, "hair": {"probe": "two_layer", "above": number(0.8)}},
        }},
        "off_part": {"two_layer": number(0.4)}, "learnt_from": 90,
    },
    "disentanglement": {"mig": {"all": number(0.1), "factors": {"mouth": number(0.2), "gaze": number(0)}}, "dci": {"disentanglement": number(0.3), "completeness": number(0.9), "informativeness": {}}, "numbers": 9, "pooled": 4, "factors": ["mouth", "gaze", "hair"]},
    "information": number(1.5),
    "left_out": {"truth": "photographs", "kid": "too few images", "realism of swaps": "one part"},
}  # fmt: skip
JUDGEMENT = Judgement.from_json(PLAIN)


def test_numbers_are_found_where_the_judgement_has_them():
    values = {measure.key: found.value for measure in COMPARED if (found := measure.of(JUDGEMENT))}
    assert values == {"success": 0.5, "kept": 0.9, "leakage": 0.4, "information": 1.5, "mig": 0.1, "dci": 0.3}


def test_what_was_judged_beyond_the_compared_attributes_does_not_count():
    asked = ("mouth", "hair")
    assert MEASURES["success"].of(JUDGEMENT, asked).value == pytest.approx((0.2 + 0.7) / 2)
    assert MEASURES["kept"].of(JUDGEMENT, ["mouth"]).value == pytest.approx(0.8)
    leak = MEASURES["leakage"].of(JUDGEMENT, asked)
    assert leak.value == pytest.approx((0.3 + 0.1) / 2) and leak.high - leak.value == pytest.approx(0.01)
    assert MEASURES["mig"].of(JUDGEMENT, asked).value == pytest.approx(0.2)
    assert MEASURES["success"].of(JUDGEMENT, ("mouth", "gaze", "hair")).value == pytest.approx(0.5)
    assert MEASURES["leakage"].of(JUDGEMENT, ("mouth", "gaze", "hair")).value == 0.4  # the judgement's own, where all is compared
    assert MEASURES["information"].of(JUDGEMENT, asked).value == 1.5


def test_what_is_missing_has_a_reason():
    assert MEASURES["edit_psnr_db"].reason(JUDGEMENT) == "photographs"
    assert MEASURES["kid"].reason(JUDGEMENT) == "too few images"
    assert MEASURES["ssim"].reason(JUDGEMENT) == "it was not asked for"


def test_what_was_measured_is_ranked():
    worse = Judgement.from_json({**PLAIN, "parts": {"all": {"success": number(0.1), "kept": number(0.2)}, "parts": {}}, "leakage": None})
    table = ranking({"good": {0: JUDGEMENT}, "worse": {0: worse, 1: worse}, "absent": {}})
    assert table["good"]["front"] and not table["worse"]["front"] and not table["absent"]["front"]
    assert table["good"]["metrics"]["success"]["rank"] == [1, 1] and table["worse"]["metrics"]["success"]["rank"] == [2, 2]
    assert table["good"]["metrics"]["information"]["rank"] == [1, 2] == table["worse"]["metrics"]["information"]["rank"]
    assert table["good"]["metrics"]["leakage"]["rank"] == [1, 1] and table["worse"]["missing"]["leakage"] == "it was not asked for"
    assert table["worse"]["metrics"]["success"]["seeds"] == 2 and table["absent"]["metrics"] == {}
    assert table["good"]["place"] < table["worse"]["place"] and table["absent"]["place"] is None


# The command


def test_the_command_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments, text in (
        ("photos --images 3 --out x", "name what to compare: --methods to train, or --runs"),
        ("avatars --methods mad --out x", "a budget is a number of images or of seconds"),
        ("--methods mad --images 10 --out x", "name what to compare on"),
        ("avatars --methods mad --images 10 --shard 1 --out x", "--shard takes I/N, such as 1/2, not '1'"),
        ("avatars --methods mad --images 10 --size 32x40 --out x", "avatars are square"),
        ("--report-only --out x", "x holds no comparison"),
    ):
        assert main(["compare", *arguments.split()]) == 1
        assert text in capsys.readouterr().err, arguments


def test_the_command_writes_the_report_anew(done, capsys):
    assert main(["compare", "--report-only", "--out", str(done)]) == 0
    shown = capsys.readouterr().out
    assert "ifcvaegan:tiny" in shown and f"page: {done / 'report.html'}" in shown
    assert main(["compare", "--report-only", "--json", "--out", str(done)]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["seeds"] == [0, 1]


def test_few_pictures_with_wide_codes_are_laid_out():
    wide = Codes(rest=torch.randn(24, 100, generator=torch.Generator().manual_seed(0)))
    layout = pictures.maps(wide)["rest"]
    assert layout.shape == (24, 2) and layout.min() == 0 and layout.max() == 1
