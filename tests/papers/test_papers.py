"""The papers' tables: their numbers, the claims, and one or two of them from end to end on tiny data."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recombine.cli import main
from recombine.data.packed import write_pack
from recombine.data.schema import Attribute, Schema
from recombine.data.synthetic import avatars
from recombine.evaluation.classifier import Settings
from recombine.evaluation.measures import MEASURES
from recombine.metrics.intervals import Estimate
from recombine.papers import TABLES, DataFolders, Workspace, find_table, run_table
from recombine.papers.matdr import compare_labels, exchange
from recombine.papers.rodi import average_precisions
from recombine.papers.table import Verdict, at_most, every, higher, lower

NAMES = (
    "advattr.table3 advattr.table4 advattr.fig5 mad.table1 mad.table2 mad.table3 mad.pose ifcvaegan.table1 ifcvaegan.table2 "
    "ifcvaegan.table3 ifcvaegan.fig2 ifcvaegan.fig7 rodi.table1 rodi.table2 rodi.fig7 matdr.table1 matdr.table2"
).split()
WITHOUT_DIGITS = {"advattr.table3", "advattr.table4", "advattr.fig5", "ifcvaegan.fig2", "ifcvaegan.fig7"}


def cell(value, half=0.0, n=100):
    return Estimate(value, value - half, value + half, n)


def papers(table, half=1e-6):
    """The paper's own numbers as if they had been measured here."""
    rows = {row.name: {name: cell(value, half) for name, value in table.numbers(row).items() if value is not None} for row in table.rows}
    return rows | {"guessing the mean": dict.fromkeys(("yaw", "pitch", "roll"), cell(9.0))} if table.name == "mad.pose" else rows


def test_all_seventeen_are_there():
    assert list(TABLES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_complete_and_typed(name):
    table = TABLES[name]
    columns = [column.name for column in table.columns]
    for row in table.rows:
        numbers = table.numbers(row)
        assert len(numbers) == len(row.paper) and set(numbers) <= set(columns)
        assert all(value is None or isinstance(value, float) for value in numbers.values())
        assert (row.measure is None) == bool(row.why_not), row.name
    shares = [v for c in table.columns if c.unit == "%" for row in table.rows if (v := table.numbers(row).get(c.name)) is not None]
    assert all(0 <= value <= 1 for value in shares)
    assert any(v is not None for row in table.rows for v in table.numbers(row).values()) == (name not in WITHOUT_DIGITS)
    assert table.title and table.setup.data and table.setup.stand_in and table.claim.words and table.differs


def number(table, row, metric):
    return TABLES[table].numbers(next(r for r in TABLES[table].rows if r.name == row))[metric]


@pytest.mark.parametrize(
    ("table", "row", "metric", "value"),
    [
        ("mad.table1", "VGGFace2_1M", "rmse_affectnet", 21.78),
        ("mad.table2", "CelebA_joint", "f_id", 0.854),
        ("mad.table3", "joint_f_not_e", "surp", 0.81),
        ("mad.table3", "VGG_Face", "AVG", 0.85),
        ("mad.pose", "AffectNet_val", "pitch", 3.53),
        ("ifcvaegan.table1", "class_loss_on_xhat", "not_smiling", 0.938),
        ("ifcvaegan.table2", "cVAE_GAN", "smiling", 0.85),
        ("ifcvaegan.table3", "without_KL", "label_accuracy", 0.90),
        ("rodi.table1", "b_only_adversarial", "I_T'", 0.8727),
        ("rodi.table2", "ours", "reid_transfer", 0.254),
        ("rodi.table2", "adversarial", "pose_fashion", 0.062),
        ("rodi.fig7", "cyclevae", "mse", 0.0170),
        ("matdr.table1", "DNA_GAN", "fid", 76.08),
        ("matdr.table2", "10", "fid", 70.72),
    ],
)
def test_numbers_are_those_of_the_papers(table, row, metric, value):
    assert number(table, row, metric) == pytest.approx(value)


def test_numbers_of_others_are_marked_as_quoted():
    quoted = {(name, row.name) for name, table in TABLES.items() for row in table.rows if row.quoted}
    assert quoted == {
        ("ifcvaegan.table1", "IcGAN"), ("ifcvaegan.table3", "IcGAN"), ("rodi.table2", "VUNet_supervised"),
        ("mad.table3", "ATL"), ("mad.table3", "ResNet18"), ("mad.table3", "VGG_Face"),
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT_DIGITS])
def test_a_claim_holds_for_the_papers_own_numbers_and_is_not_shown_by_wide_intervals_or_nothing(name):
    table = TABLES[name]
    assert table.claim.judge(papers(table)).holds is True
    wide = max(abs(c.value) for row in papers(table).values() for c in row.values())
    assert table.claim.judge(papers(table, wide)).holds is None
    assert table.claim.judge({}).holds is None


@pytest.mark.parametrize(
    ("name", "row", "metric", "value"),
    [
        ("ifcvaegan.table1", "ours", "not_smiling", 0.4),
        ("ifcvaegan.table3", "alpha0.1", "mse", 0.010),
        ("mad.table1", "CelebA_160K", "rmse_lfw", 20.0),
        ("mad.table2", "CelebA_joint", "f_id", 0.66),
        ("mad.table3", "joint_f_e", "AVG", 0.78),
        ("mad.pose", "CelebA_test", "pitch", 4.5),
        ("rodi.table1", "b_only_adversarial", "I_T'", 0.1),
        ("rodi.table2", "adversarial", "reid_transfer", 0.3),
        ("rodi.fig7", "bvae", "mse", 0.004),
        ("matdr.table1", "StarGAN", "fid", 45.0),
        ("matdr.table2", "0.01", "fid", 40.0),
    ],
)
def test_a_claim_does_not_hold_against_the_papers_order(name, row, metric, value):
    table = TABLES[name]
    rows = papers(table)
    rows[row][metric] = cell(value, 1e-6)
    verdict = table.claim.judge(rows)
    assert verdict.holds is False and row in verdict.why


def test_claims_without_digits_in_the_paper():
    def judged(name, rows):
        return TABLES[name].claim.judge({row: {m: cell(v, 0.005) for m, v in of.items()} for row, of in rows.items()}).holds

    assert judged("advattr.table3", {"with_dis": {"all": 0.6}, "without_dis": {"all": 0.8}}) is True
    assert judged("advattr.table3", {"with_dis": {"all": 0.6}, "without_dis": {"all": 0.604}}) is None
    assert judged("advattr.table3", {"with_dis": {"all": 0.77}, "without_dis": {"all": 0.8}}) is False
    assert judged("advattr.fig5", {"with_dis": {"others": 0.9, "own": 0.1}, "without_dis": {"others": 0.4}}) is True
    assert judged("advattr.fig5", {"with_dis": {"others": 0.3, "own": 0.1}, "without_dis": {"others": 0.4}}) is False
    others = {name: {"accuracy": 0.5, "fid": 2.0} for name in ("pix2pix", "CycleGAN", "StarGAN")}
    assert judged("advattr.table4", {"ours": {"accuracy": 0.8, "fid": 1.0}, **others}) is True
    assert judged("advattr.table4", {"ours": {"accuracy": 0.8, "fid": 3.0}, **others}) is False
    assert judged("advattr.table4", {"ours": {"accuracy": 0.8, "fid": 1.0}, "StarGAN": others["StarGAN"]}) is None
    ten = [row.name for row in TABLES["ifcvaegan.fig2"].rows]
    assert judged("ifcvaegan.fig2", {n: {"difference": -0.1 if n == "Bald" else 0.0} for n in ten}) is True
    assert judged("ifcvaegan.fig2", {n: {"difference": -0.1 if n in ("Bald", "Male") else 0.0} for n in ten}) is False
    assert judged("ifcvaegan.fig2", {n: {"difference": -0.01 if n in ("Bald", "Male") else 0.0} for n in ten}) is None
    assert judged("ifcvaegan.fig2", {"Bald": {"difference": 0.0}}) is None
    assert judged("ifcvaegan.fig7", {"ours": {"mean": 0.9}, "DIP-VAE": {"mean": 0.8}}) is True


def test_cells_are_compared_by_their_intervals():
    rows = {"a": {"x": cell(0.8, 0.1)}, "b": {"x": cell(0.5, 0.1)}, "c": {"x": cell(0.65, 0.1)}}
    a, b, c = ("a", "x"), ("b", "x"), ("c", "x")
    assert higher(a, b)(rows) == Verdict(True, "a 0.8 against b 0.5: above")
    assert higher(b, a)(rows).holds is False and lower(b, a)(rows).holds is True
    assert higher(a, c)(rows) == Verdict(None, "a 0.8 against c 0.65: their intervals overlap")
    assert higher(a, b, by=0.6)(rows).holds is False
    assert higher(a, b, by=0.2)(rows).holds is None
    assert higher(a, ("d", "x"))(rows).why == "d was not run"
    assert lower(("a", "y"), b)(rows).why == "y of a was not measured"
    assert [at_most(c, limit)(rows).holds for limit in (0.8, 0.7, 0.5)] == [True, None, False]
    holds, unclear, fails = (lambda rows, v=v: v for v in (Verdict(True, "p"), Verdict(None, "q"), Verdict(False, "r")))
    assert every(holds, unclear, fails)(rows) == Verdict(False, "r")
    assert every(holds, unclear)(rows) == Verdict(None, "q")


def test_columns_of_the_catalogue_bear_its_titles():
    column = next(c for c in TABLES["matdr.table1"].columns if c.name == "rebuilt")
    assert column.heading == f"{MEASURES['frechet_reconstructed'].title} ↓"
    assert [c.bounded for c in TABLES["ifcvaegan.fig2"].columns] == [True, True, False, True]  # a difference may lie below 0


def test_list_says_what_each_needs_and_what_can_be_run(capsys):
    assert main(["tables", "--list"]) == 0
    text = capsys.readouterr().out
    assert all(f"{name}: " in text for name in NAMES)
    assert "2 of 17 can be run with what is given" in text
    assert "cannot be run: it needs a folder of Liberated Pixel Cup sheets (--data SHEETS)" in text
    assert main(["tables", "--list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == NAMES
    assert [row["name"] for row in rows if not row["missing"]] == ["advattr.table3", "advattr.fig5"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("tables mad.tabel3", "there is no table 'mad.tabel3'.*did you mean 'mad.table3'"),
        ("tables matdr.table1", r"matdr\.table1 cannot be run: it needs a folder of labelled photographs.* with Bangs, Smiling, Eyeglasses"),
        ("tables matdr.table1 --data nowhere", "there is no folder 'nowhere'; --data takes `avatars`, a folder of labelled photographs"),
        ("tables matdr.table1 --data signs", "signs has no labels of Bangs, Eyeglasses"),
        ("tables all --data signs --data signs", "signs and signs are both photos; tables take one of a kind"),
    ],
)
def test_what_is_missing_is_said_in_words(arguments, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    smiles(Path("signs"), 20)
    assert main(arguments.split()) == 1
    assert re.search(text, capsys.readouterr().err)


def smiles(folder, count=240):
    """Images of 16 pixels: a bright lower half for a smile, its shade for the person."""
    rng = np.random.default_rng(0)
    labels = {"Smiling": np.arange(count) % 2, "identity": np.arange(count) // 4}
    shade = (60 + 2 * labels["identity"])[:, None, None, None] + rng.integers(0, 8, (count, 3, 16, 16))
    shade[:, :, 8:] += 80 * labels["Smiling"][:, None, None, None]
    names = tuple(f"p{i}" for i in range(count // 4 + 1))
    schema = Schema((Attribute("Smiling", "binary", ("0", "1")), Attribute("identity", "group", names)), 16, 16)
    splits = np.where(labels["identity"] % 3 == 2, "val", "train")
    return write_pack(folder, [shade.clip(0, 255).astype(np.uint8)], schema, [f"{i}.png" for i in range(count)], labels, splits)


QUICK = Settings(width=4, images=512, height=16, evaluations=2)


def test_a_table_from_end_to_end(tmp_path):
    smiles(tmp_path / "smiles")
    table = find_table("ifcvaegan.table1")
    few = replace(table, rows=tuple(row for row in table.rows if row.name != "class_loss_on_xhat"))
    lines = []
    workspace = Workspace(tmp_path / "out", DataFolders.sort(["avatars", tmp_path / "smiles"]), QUICK, lines.append)
    result = run_table(few, workspace, 64)
    ours, without, quoted = result["rows"]
    assert ours["ours"]["not_smiling"]["n"] == 40 and 0 <= ours["ours"]["not_smiling"]["low"] <= 1
    assert without["paper"] == {"mse": 0.028, "not_smiling": 0.188, "smiling": 0.813}
    assert quoted["ours"] is not None and quoted["quoted"]
    assert result["claim"]["holds"] in (True, False, None) and result["claim"]["why"]
    assert result["differs"]["n"]["ours"] == "40 to 80" and "64 by each training" in result["differs"]["images seen"]["ours"]
    trained = [line for line in lines if line.startswith("training") and " images: " in line]
    assert len(trained) == 3

    folder = tmp_path / "out" / "ifcvaegan.table1"
    assert json.loads((folder / "table.json").read_text()) == result
    page = (folder / "table.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith("| IcGAN"))
    assert row.split(" | ")[3] == "9.9†" and "quoted by the paper, not measured by its authors: IcGAN" in page
    for name, found in ((r["name"], r["ours"]) for r in result["rows"]):
        line = next(line for line in page.splitlines() if line.startswith(f"| {name} |"))
        assert f"{found['mse']['value']:.3f} ({found['mse']['low']:.3f} to {found['mse']['high']:.3f})" in line

    lines.clear()
    again = run_table(few, Workspace(tmp_path / "out", workspace.folders, QUICK, lines.append), 64)
    assert again == result and lines == []  # nothing is trained or measured twice


def test_rows_that_fail_are_said_and_several_seeds_widen_the_interval(tmp_path):
    def broken(workspace, images, seed):
        raise ValueError("there are too few images")

    table = find_table("ifcvaegan.table2")
    lucky = replace(table.rows[0], measure=lambda workspace, images, seed: {"mse": cell(0.1 + 0.1 * seed, 0.01), "not_smiling": cell(0.9 - 0.8 * seed)})
    smiles(tmp_path / "smiles", 20)
    made = replace(table, rows=(lucky, replace(table.rows[1], measure=broken)))
    spread = np.hypot(12.7062 * np.std([0.1, 0.2], ddof=1) / np.sqrt(2), 0.01)  # Student's t of one degree, and the images'
    result = run_table(made, Workspace(tmp_path / "out", DataFolders.sort([tmp_path / "smiles"]), QUICK), 8, seeds=2)
    assert result["rows"][0]["ours"]["mse"] == pytest.approx({"value": 0.15, "low": 0.15 - spread, "high": 0.15 + spread, "n": 100})
    assert (result["rows"][0]["ours"]["not_smiling"]["low"], result["rows"][0]["ours"]["not_smiling"]["high"]) == (0, 1)  # a share
    assert result["rows"][1]["ours"] is None and result["claim"]["why"] == "cVAE_GAN was not run"
    assert "not run: cVAE_GAN: there are too few images" in (tmp_path / "out" / table.name / "table.md").read_text()


def test_entropies_of_drawn_faces_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    avatars.build(tmp_path / "faces", 80, 16, progress=False)
    assert main("tables advattr.fig5 --data faces --images 32".split()) == 0
    text = capsys.readouterr().out
    assert "advattr.fig5: How unsure is every head" in text and re.search(r"(✓ holds|✗ does not hold|\? not shown): ", text)
    assert main("tables advattr.fig5 --data faces --images 32 --json".split()) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert 0 <= result["rows"][0]["ours"]["others"]["value"] <= 1


def test_exchanged_attributes_are_those_that_differ(signs, sign_editor, sign_reader):
    rows = np.arange(10), np.arange(10, 20)
    model = sign_editor("perfect")
    for by_label in (False, True):
        made = exchange(OnlyTwo(model), signs, rows, by_label)
        labels = {name: np.concatenate([signs.labels[name][half] for half in rows[::-1]]) for name in ("colour", "lamp")}
        seen = sign_reader.verdicts(made)
        assert all((seen[name] == labels[name]).all() for name in labels)
        assert (seen["stripes"] == signs.labels["stripes"][np.concatenate(rows)]).all()
    differ, wanted = compare_labels(signs, "lamp", *rows)
    assert torch.equal(differ, torch.from_numpy(signs.labels["lamp"][:10] != signs.labels["lamp"][10:20])) and len(wanted) == 10


class OnlyTwo(torch.nn.Module):
    """A method that knows two of the attributes."""

    def __init__(self, model):
        super().__init__()
        self.model, self.schema = model, model.schema.select("colour", "lamp")
        self.encode, self.decode, self.label_code = model.encode, model.decode, model.label_code


def test_average_precision_of_made_pictures_among_real_ones():
    gallery, owners = np.array([[0.0], [1.0], [2.0]]), np.array([[0], [1], [0]])
    assert average_precisions(np.array([[0.1]]), np.array([[0]]), gallery, owners) == [pytest.approx((1 + 2 / 3) / 2)]
    assert average_precisions(np.array([[1.1]]), np.array([[1]]), gallery, owners) == [1.0]
