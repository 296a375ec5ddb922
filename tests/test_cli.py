"""The command line: help, errors, exit codes, and pictures through every edit, all through the real entry point."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import recombine as rc
from recombine.cli import COMMANDS, main
from recombine.data.schema import Attribute, Schema

GOLDEN = Path(__file__).parent / "golden"
PAGES = {"recombine": [], **{name: [name] for name in COMMANDS}}
PAGES |= {f"edit_{verb}": ["edit", verb] for verb in ("set", "swap", "interpolate", "mix")}


@pytest.fixture
def here(tmp_path, monkeypatch, untrained):
    """An empty folder to work in, with a model in `model` and two faces."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "model").symlink_to(untrained)
    for seed, name in enumerate(("anna", "ben")):
        face(seed).save(f"{name}.png")
    return tmp_path


def face(seed, size=(16, 16)):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def run(capsys, *arguments):
    """Exit code, stdout and stderr of one command."""
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("page", PAGES)
def test_help_is_as_it_was(page, capsys, monkeypatch):
    """Every option that appears or vanishes shows here: RECOMBINE_GOLDEN=1 pytest tests/test_cli.py writes the pages anew."""
    monkeypatch.setenv("COLUMNS", "100")
    code, out, _ = run(capsys, *PAGES[page], "--help")
    path = GOLDEN / f"{page}.txt"
    if os.environ.get("RECOMBINE_GOLDEN"):
        path.write_text(out)
    assert code == 0
    assert out == path.read_text()
    assert "    recombine " in out or page == "edit", "help shows an example"


def test_help_is_quick_because_nothing_heavy_is_imported():
    code = "import sys, recombine.cli; print([m for m in ('torch', 'numpy', 'PIL', 'pyarrow') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("trian photos", 'Unknown command "trian". Did you mean "train"?'),
        ("train", "parameter WHAT requires an argument; see recombine train --help"),
        ("train photos --sise 3", "Unknown option: --sise. Did you mean --size?"),
        ("train photos --images many", 'Invalid value for --images: unable to convert "many" into int'),
        ("data photos --fit cut", 'Invalid value "cut" for --fit. Choose from: "crop", "letterbox", "stretch"'),
        ("evaluate a b", "nothing takes 'b'; see recombine evaluate --help"),
        ("edit sett model a.png", 'Unknown command "sett". Did you mean "set"?'),
        ("edit set model anna.png --label mouth=smile", "parameter --out requires an argument; see recombine edit set --help"),
        ("edit set model anna.png --label a=b --out x --batch 0", "Must be >= 1"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2_and_one_sentence(command, text, here, capsys):
    code, out, err = run(capsys, *command.split())
    assert (code, out) == (2, "")
    assert err.startswith("recombine: ") and text in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("edit set nowhere anna.png --label mouth=smile --out x", "there is no nowhere; expected a run folder"),
        ("edit set model carl.png --label mouth=smile --out x", "there is no picture or folder carl.png"),
        ("edit set model empty --label mouth=smile --out x", "empty holds no pictures; expected files that end in .jpg"),
        ("edit set model anna.png --label mouth --out x", "--label takes NAME=VALUE, for example --label Smiling=1, not 'mouth'"),
        ("edit set model anna.png --label a=1 --label a=2 --out x", "--label a is given twice, as '1' and as '2'; keep one"),
        ("edit set model anna.png --label moth=smile --out x", "no attribute 'moth'; there are glasses, mouth, .*did you mean 'mouth'"),
        ("edit set model anna.png --label mouth=smlie --out x", "mouth has no value 'smlie'; it has neutral, smile; did you mean 'smile'"),
        ("edit set model anna.png --label mouth=smile --out anna.png", "anna.png is an original and is never overwritten"),
        ("edit set model anna.png --label mouth=smile --out anna.png --overwrite", "is an original and is never overwritten"),
        ("edit set model anna.png ben.png --label mouth=smile --out both.png", "name a folder, or add --grid"),
        ("edit set model anna.png --label mouth=smile --out a.jpg", "--out a.jpg cannot take .* name a .png file"),
        ("edit set model anna.png --label mouth=smile --grid --out folder", "--grid writes one .png file"),
        ("edit set model anna.png anna.png --label mouth=smile --out x", "2 pictures would be written as anna.png.png"),
        ("edit set model html.jpg --label mouth=smile --out x", "html.jpg: is an HTML page: the download failed"),
        ("edit swap model anna.png --with ben.png --parts hat --out x", "no part 'hat'; these codes have"),
        ("edit swap model anna.png --with two --parts mouth --out x", "two holds 2 pictures for 1; give one, or as many"),
        ("edit interpolate model anna.png --with ben.png --at half --out x", "--at takes numbers, not 'half'"),
        ("edit mix model anna.png --part mouth=ben.png:heavy --out x", "the weight in --part takes numbers, not 'heavy'"),
    ],
)
def test_wrong_input_is_exit_code_1_and_one_sentence(command, text, here, capsys):
    Path("empty").mkdir()
    Path("two").mkdir()
    face(1).save("two/a.png")
    face(2).save("two/b.png")
    Path("html.jpg").write_text("<!DOCTYPE html><p>quota exceeded")
    before = Path("anna.png").read_bytes()
    code, out, err = run(capsys, *command.split())
    assert (code, out) == (1, "")
    assert err.startswith("recombine: ") and re.search(text, err) and err.count("\n") == 1
    assert Path("anna.png").read_bytes() == before


def test_debug_shows_where_an_error_came_from(here):
    with pytest.raises(FileNotFoundError, match=r"carl\.png"):
        main("edit set model carl.png --label mouth=smile --out x --debug".split())


def test_set_writes_what_the_library_would(here, capsys):
    code, out, err = run(capsys, *"edit set model anna.png ben.png --label mouth=smile --strength 0.5 --out new".split())
    assert (code, out) == (0, "") and "edited 2 pictures: new" in err
    model = rc.load("model")
    codes = model.encode(rc.read_images("anna.png", schema=model.schema))
    expected = model.decode(rc.set_label(model, codes, mouth="smile", strength=0.5))
    assert (rc.read_images("new/anna.png") - expected).abs().max() <= 1 / 255


def test_swap_with_one_donor_and_with_a_folder_of_partners(here, capsys):
    for name in ("photos", "others"):
        Path(name).mkdir()
        for seed in range(5):
            face(seed + 10 * (name == "others")).save(f"{name}/{seed}.png")
    assert run(capsys, *"edit swap model photos --with others --parts mouth,rest --out pairs --batch 2".split())[0] == 0
    assert run(capsys, *"edit swap model photos --with others/3.png --parts mouth,rest --out one --batch 2".split())[0] == 0
    assert sorted(os.listdir("pairs")) == [f"{seed}.png" for seed in range(5)]
    assert Path("pairs/3.png").read_bytes() == Path("one/3.png").read_bytes()
    assert Path("pairs/2.png").read_bytes() != Path("one/2.png").read_bytes()


def test_interpolate_starts_at_the_picture_and_ends_at_the_other(here, capsys):
    code, out, _ = run(capsys, *"edit interpolate model anna.png --with ben.png --at 0,1 --out line --json".split())
    assert code == 0
    assert json.loads(out) == {"written": ["line/anna_0.png", "line/anna_1.png"], "skipped": {}}
    model = rc.load("model")
    for step, name in enumerate(("anna", "ben")):
        again = model.decode(model.encode(rc.read_images(f"{name}.png", schema=model.schema)))
        assert (rc.read_images(f"line/anna_{step}.png") - again).abs().max() <= 1 / 255


def test_mix_weighs_its_sources(here, capsys):
    face(3).save("carl.png")
    parts = "--part rest=ben.png:1 --part rest=carl.png:3"
    assert run(capsys, *f"edit mix model anna.png {parts} --out mix.png".split())[0] == 0
    model = rc.load("model")
    anna, ben, carl = (model.encode(rc.read_images(f"{name}.png", schema=model.schema)) for name in ("anna", "ben", "carl"))
    expected = model.decode(anna.replace(rest=(ben["rest"] + 3 * carl["rest"]) / 4))
    assert (rc.read_images("mix.png") - expected).abs().max() <= 1 / 255


def test_a_grid_shows_originals_beside_their_edits(here, capsys):
    assert run(capsys, *"edit set model anna.png ben.png --label mouth=smile --grid --out grid.png".split())[0] == 0
    sheet = rc.read_images("grid.png")
    assert sheet.shape == (1, 3, 2 * 16 + 2, 2 * 16 + 2)
    assert torch.equal(sheet[..., :16, :16], rc.read_images("anna.png"))
    assert torch.equal(sheet[..., 18:, :16], rc.read_images("ben.png"))


def test_folders_keep_their_shape_and_names_that_differ_in_their_ending_stay_apart(here, capsys):
    Path("photos/deep").mkdir(parents=True)
    face(1).save("photos/a.png")
    face(2).save("photos/a.bmp")
    face(3).save("photos/deep/ä b.png")
    assert run(capsys, *"edit set model photos --label mouth=smile --out new".split())[0] == 0
    assert sorted(str(p.relative_to("new")) for p in Path("new").rglob("*.png")) == ["a.bmp.png", "a.png.png", "deep/ä b.png"]


def test_older_results_stay_unless_told_otherwise(here, capsys):
    command = "edit set model anna.png --label mouth=smile --out new".split()
    assert run(capsys, *command)[0] == 0
    code, _, err = run(capsys, *command)
    assert code == 1 and "new/anna.png exists already; give another --out, or --overwrite" in err
    assert run(capsys, *command, "--overwrite")[0] == 0


def test_a_linked_original_is_not_overwritten_either(here, capsys):
    Path("new").mkdir()
    os.link("anna.png", "new/anna.png")
    code, _, err = run(capsys, *"edit set model anna.png --label mouth=smile --out new --overwrite".split())
    assert code == 1 and "new/anna.png is an original" in err


def test_broken_files_among_many_are_left_out_when_asked_and_named(here, capsys):
    Path("photos").mkdir()
    for seed in range(3):
        face(seed).save(f"photos/{seed}.png")
    Path("photos/1.png").write_bytes(Path("photos/1.png").read_bytes()[:200])
    command = "edit set model photos --label mouth=smile --out new".split()
    code, _, err = run(capsys, *command)
    assert code == 1 and "photos/1.png" in err
    code, out, err = run(capsys, *command, "--on-bad", "skip", "--overwrite", "--json")
    assert code == 0 and "left out photos/1.png" in err
    assert json.loads(out)["written"] == ["new/0.png", "new/2.png"]
    assert list(json.loads(out)["skipped"]) == ["photos/1.png"]


def test_sixteen_bits_in_are_sixteen_bits_out(tmp_path, monkeypatch, capsys, make_untrained):
    monkeypatch.chdir(tmp_path)
    make_untrained(Path("model"), Schema((Attribute("dye", "binary", ("0", "1")),), 16, 16, channels=1, bits=16))
    ramp = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    Image.fromarray(ramp).save("cell.png")
    assert run(capsys, *"edit set model cell.png --label dye=1 --out new".split())[0] == 0
    with Image.open("new/cell.png") as picture:
        values = np.asarray(picture)
    assert picture.mode in ("I;16", "I") and (values % 257 != 0).any()
