"""The command line: help, errors, exit codes, and images through every edit, all through the real entry point."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

import recombine as rc
from recombine.cli import APP, COMMANDS, main
from recombine.commands.data import data
from recombine.commands.options import METHOD_NAMES
from recombine.data import decoding, workers
from recombine.data.packed import Pack
from recombine.data.schema import Attribute, Schema
from recombine.methods import METHODS, splice

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
    """Every option that appears or vanishes shows here: recombine_GOLDEN=1 pytest tests/test_cli.py writes the pages anew."""
    monkeypatch.setenv("COLUMNS", "100")
    code, out, _ = run(capsys, *PAGES[page], "--help")
    path = GOLDEN / f"{page}.txt"
    if os.environ.get("recombine_GOLDEN"):
        path.write_text(out)
    assert code == 0
    assert out == path.read_text()
    assert "    recombine " in out or page == "edit", "help shows an example"


def test_help_names_every_method():
    assert set(METHOD_NAMES) == set(METHODS)


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
        ("edit set model carl.png --label mouth=smile --out x", "there is no image or folder carl.png"),
        ("edit set model empty --label mouth=smile --out x", "empty holds no images; expected files that end in .jpg"),
        ("edit set model anna.png --label mouth --out x", "--label takes NAME=VALUE, for example --label Smiling=1, not 'mouth'"),
        ("edit set model anna.png --label a=1 --label a=2 --out x", "--label a is given twice, as '1' and as '2'; keep one"),
        ("edit set model anna.png --label moth=smile --out x", "no attribute 'moth'; there are glasses, mouth, .*did you mean 'mouth'"),
        ("edit set model anna.png --label mouth=smlie --out x", "mouth has no value 'smlie'; it has neutral, smile; did you mean 'smile'"),
        ("edit set model anna.png --label mouth=smile --out anna.png", "anna.png is an original and is never overwritten"),
        ("edit set model anna.png --label mouth=smile --out anna.png --overwrite", "is an original and is never overwritten"),
        ("edit set model anna.png ben.png --label mouth=smile --out both.png", "name a folder, or add --grid"),
        ("edit set model anna.png --label mouth=smile --out a.jpg", "--out a.jpg cannot take .* name a .png file"),
        ("edit set model anna.png --label mouth=smile --grid --out folder", "--grid writes one .png file"),
        ("edit set model anna.png anna.png --label mouth=smile --out x", "2 images would be written as anna.png.png"),
        ("edit set model html.jpg --label mouth=smile --out x", "html.jpg: is an HTML page: the download failed"),
        ("edit swap model anna.png --with ben.png --parts hat --out x", "no part 'hat'; these codes have"),
        ("edit swap model anna.png --with two --parts mouth --out x", "two holds 2 images for 1; give one, or as many"),
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
    assert (code, out) == (0, "") and "edited 2 images: new" in err
    model = rc.load("model")
    codes = model.encode(rc.read_images("anna.png", schema=model.schema))
    expected = model.decode(rc.set_label(model, codes, mouth="smile", strength=0.5))
    assert (rc.read_images("new/anna.png") - expected).abs().max() <= 1 / 255 + 1e-6  # of rounding, and of floats


def test_set_draws_other_ways_to_have_a_label(here, capsys, monkeypatch):
    code, _, err = run(capsys, *"edit set model anna.png --label mouth=smile --draws 2 --out new".split())
    assert code == 1 and "this model has no prior over codes to draw from" in err
    kind, drawn = type(rc.load("model")), []

    def drawn_code(model, name, value, normal):
        drawn.append(normal)
        return model.label_code(name, value) * normal.sigmoid()

    monkeypatch.setattr(kind, "drawn_code", drawn_code, raising=False)
    assert run(capsys, *"edit set model anna.png ben.png --label mouth=smile --draws 2 --out new --batch 1".split())[0] == 0
    assert sorted(os.listdir("new")) == ["anna_1.png", "anna_2.png", "ben_1.png", "ben_2.png"]
    assert len({tuple(normal.flatten().tolist()) for normal in drawn}) == 4, "every image in every draw its own"


def test_swap_with_one_source_and_with_a_folder_of_sources(here, capsys):
    for name in ("photos", "others"):
        Path(name).mkdir()
        for seed in range(5):
            face(seed + 10 * (name == "others")).save(f"{name}/{seed}.png")
    assert run(capsys, *"edit swap model photos --with others --parts mouth,rest --out pairs --batch 2".split())[0] == 0
    assert run(capsys, *"edit swap model photos --with others/3.png --parts mouth,rest --out one --batch 2".split())[0] == 0
    assert sorted(os.listdir("pairs")) == [f"{seed}.png" for seed in range(5)]
    assert Path("pairs/3.png").read_bytes() == Path("one/3.png").read_bytes()
    assert Path("pairs/2.png").read_bytes() != Path("one/2.png").read_bytes()


def test_interpolate_starts_at_the_image_and_ends_at_the_other(here, capsys):
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


def test_odd_images_are_edited_and_what_is_odd_is_said(here, capsys):
    frames = [face(seed, (20, 20)) for seed in range(2)]
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:])
    code, _, err = run(capsys, *"edit set model moving.gif --label mouth=smile --out new".split())
    assert code == 0 and "1 image: has several frames or pages; only the first is used" in err
    assert Path("new/moving.png").exists()


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
    with Image.open("new/cell.png") as image:
        values = np.asarray(image)
    assert image.mode in ("I;16", "I") and (values % 257 != 0).any()


@pytest.fixture
def photos(here):
    """30 labelled faces: a binary and a categorical attribute, a number with gaps, and who it is."""
    rows = ["file_name,Smiling,hair,age,person"]
    (here / "photos").mkdir()
    for i in range(30):
        face(i).save(f"photos/{i}.png")
        rows.append(f"{i}.png,{i % 2},{('blond', 'red')[i // 2 % 2]},{'' if i % 7 == 0 else 20.5 + i},p{i // 3}")
    (here / "photos" / "metadata.csv").write_text("\n".join(rows) + "\n")
    return here / "photos"


def replace_line(table, line, old, new):
    lines = table.read_text().split("\n")
    lines[line - 1] = lines[line - 1].replace(old, new)
    table.write_text("\n".join(lines))


def test_data_shows_attributes_kinds_counts_and_gaps(photos, capsys):
    code, out, _ = run(capsys, "data", "photos")
    assert code == 0
    out_in_a_line = " ".join(out.split())
    assert "30 images" in out_in_a_line and "colour, 8 bits, 16x16 pixels" in out_in_a_line
    assert re.search(r"Smiling +binary +0 15, 1 15", out)
    assert re.search(r"hair +categorical +blond 16, red 14", out)
    assert re.search(r"age +continuous +21.5 to 49.5, mean [\d.]+ +5", out)
    assert re.search(r"person +group +10 groups, 0 with one image", out)


def test_data_takes_a_stated_kind(photos, capsys):
    code, out, _ = run(capsys, *"data photos --kind hair=group --json".split())
    assert code == 0
    assert {entry["name"]: entry["kind"] for entry in json.loads(out)["attributes"]}["hair"] == "group"
    code, _, err = run(capsys, *"data photos --kind hair=colour".split())
    assert code == 1 and "--kind hair=colour: a kind is one of binary, categorical, continuous, group" in err


def test_data_names_unreadable_pictures_copies_and_slips_with_what_to_do(photos, capsys):
    (photos / "4.png").write_bytes((photos / "4.png").read_bytes()[:200])
    (photos / "8.png").write_bytes((photos / "6.png").read_bytes())
    replace_line(photos / "metadata.csv", 2, "blond", "blnod")
    (photos / "lone.png").write_bytes((photos / "1.png").read_bytes())
    code, out, _ = run(capsys, *"data photos --json".split())
    notes = [f"{note['level']}: {note['text']}; {note['fix']}" for note in json.loads(out)["notes"]]
    assert code == 1
    for text in (
        "error: 1 images cannot be used (1 truncated): 4.png is cut off",
        "or leave them out with --on-bad skip",
        "6.png = 8.png",
        "metadata.csv line 2, column hair",
        "--new-values",
        "lone.png",
        "--unlabelled",
    ):
        assert any(text in note for note in notes), (text, notes)
    assert not any("made larger" in note for note in notes), "the check decodes at another size than training"


@pytest.fixture
def decodes(monkeypatch):
    """How many images were decoded since it was asked last."""
    count, load = [], ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: (count.append(1) if image.tile else None, load(image))[1])
    if decoding.simplejpeg:
        fast = decoding.simplejpeg.decode_jpeg
        monkeypatch.setattr(decoding.simplejpeg, "decode_jpeg", lambda *a, **more: (count.append(1), fast(*a, **more))[1])

    def asked():
        found = len(count)
        count.clear()
        return found

    return asked


def test_data_decodes_every_image_once(photos, capsys, decodes):
    for number in range(0, 30, 3):
        face(number).save(photos / f"{number}.png", "JPEG")
    assert run(capsys, *"data photos".split())[0] == 0 and decodes() == 30
    assert run(capsys, *"data photos --pack packs/photos".split())[0] == 0 and decodes() == 30
    assert run(capsys, *"data photos --pack packs/photos".split())[0] == 0 and decodes() == 0
    assert run(capsys, *"data packs/photos".split())[0] == 0 and decodes() == 0
    face(99).save(photos / "7.png")
    assert run(capsys, *"data photos --pack packs/photos".split())[0] == 0 and decodes() == 1


def test_data_that_was_interrupted_decodes_only_what_it_lacks(here, capsys, monkeypatch, decodes):
    Path("photos/a").mkdir(parents=True)
    Path("photos/b").mkdir()
    for number in range(200):
        face(number).save(f"photos/{'ab'[number % 2]}/{number}.png")
    one, stops = workers.Job.one, iter(range(300))

    def stopping(job, file):
        if next(stops) == 100:
            raise KeyboardInterrupt
        return one(job, file)

    monkeypatch.setattr(workers.Job, "one", stopping)
    with pytest.raises(KeyboardInterrupt):
        data(Path("photos"), pack=Path("pack"))
    assert decodes() == 100
    data(Path("photos"), pack=Path("pack"))
    assert decodes() == 200 - 100 // workers.CHUNK * workers.CHUNK and len(Pack("pack")) == 200


@pytest.mark.parametrize("packing", [True, False], ids=["packed", "reported"])
def test_broken_images_do_not_decide_on_the_format_of_the_others(here, capsys, decodes, packing):
    Path("grey/a").mkdir(parents=True)
    Path("grey/b").mkdir()
    for number in range(20):
        face(number).convert("L").save(f"grey/{'ab'[number % 2]}/{number}.png")
    broken = Path("grey/a/0.png")
    face(0).save(broken)
    broken.write_bytes(broken.read_bytes()[:200])
    arguments = ["data", "grey", "--on-bad", "skip", "--json", *(["--pack", "pack"] if packing else [])]
    code, out, _ = run(capsys, *arguments)
    assert code == 0 and json.loads(out)["looks"] == {"pictures": 19, "grey": 19, "16 bits": 0, "sizes": {"16x16": 19}}
    decodes()
    if packing:
        assert Pack("pack").images.shape == (19, 1, 64, 64)
        assert run(capsys, *arguments)[:2] == (code, out) and decodes() == 0, "the finished pack is what would come out"


def test_data_reports_images_none_of_which_can_be_used_with_all_else(photos, capsys):
    for file in photos.glob("*.png"):
        file.write_bytes(b"no image")
    replace_line(photos / "metadata.csv", 2, "blond", "blnod")
    code, out, _ = run(capsys, *"data photos --on-bad skip".split())
    text = " ".join(out.split())
    assert code == 1 and "error: 30 images cannot be used (30 not an image): 0.png" in text
    assert "repair or replace them" in text and "metadata.csv line 2, column hair" in text


def test_data_repaired_by_options_packs_and_the_pack_can_be_looked_at(photos, capsys):
    (photos / "4.png").write_bytes((photos / "4.png").read_bytes()[:200])
    (photos / "lone.png").write_bytes((photos / "1.png").read_bytes())
    code, out, _ = run(capsys, *"data photos --on-bad skip --unlabelled drop --pack packs/photos --size 16x12".split())
    assert code == 0 and "packed: packs/photos" in out
    code, out, _ = run(capsys, *"data packs/photos --json".split())
    assert code == 0 and json.loads(out)["pictures"] == 29
    images = Path("packs/photos/images.npy")
    images.write_bytes(images.read_bytes()[:-1] + b"\x01")
    code, _, err = run(capsys, *"data packs/photos".split())
    assert code == 1 and "images.npy is damaged" in err


def test_data_without_an_option_that_is_needed_packs_nothing(photos, capsys):
    (photos / "lone.png").write_bytes((photos / "1.png").read_bytes())
    assert run(capsys, *"data photos --pack packs/photos".split())[0] == 1
    assert not Path("packs/photos/manifest.json").exists()


def test_grey_sixteen_bit_pictures_are_packed_as_what_they_are(here, capsys):
    for value in ("low", "high"):
        Path("cells", value).mkdir(parents=True)
        for i in range(4):
            pixels = np.random.default_rng(i).integers(0, 2**16, (16, 16), dtype=np.uint16)
            Image.fromarray(pixels).save(f"cells/{value}/{i}.png")
    code, _, _ = run(capsys, *"data cells --pack packs/cells --size 16".split())
    schema = json.loads(Path("packs/cells/schema.json").read_text())
    assert code == 0 and (schema["channels"], schema["bits"]) == (1, 16)


TINY = "--size 16 --batch-size 8 --judge none " + " ".join(
    f"--set {name}={getattr(splice.TINY, name)}" for name in ("width", "encoder_blocks", "blocks", "code_length", "condition_length", "critic_width")
)


def test_train_learns_from_a_folder_resumes_and_refuses_another_configuration(photos, capsys):
    command = f"train photos --attributes Smiling,hair --images 32 --out runs/a {TINY}".split()
    code, out, _ = run(capsys, *command, "--json")
    assert code == 0 and json.loads(out) == {"run": "runs/a", "model": "runs/a/model", "images": 32}
    model = rc.load("runs/a")
    assert model.schema.names == ("Smiling", "hair") and model.image_size == (16, 16)
    weights = Path("runs/a/model/weights.safetensors").read_bytes()

    assert run(capsys, *command)[0] == 0
    assert Path("runs/a/model/weights.safetensors").read_bytes() == weights, "a finished training is left as it is"

    code, _, err = run(capsys, *command, "--set", "not_weight=0")
    assert code == 1 and "config.not_weight was 1.0, now 0.0; give another folder for a new run" in err
    assert run(capsys, *"edit set runs/a anna.png --label Smiling=1 --out new".split())[0] == 0


def test_train_for_some_minutes_finds_the_images(photos, capsys):
    code, out, err = run(capsys, *f"train photos --attributes Smiling --minutes 0.01 --out runs/a --json {TINY}".split())
    images = json.loads(out)["images"]
    assert code == 0 and images % 8 == 0 and f"length: {images:,} images, at " in err


def test_train_that_is_stopped_says_how_to_go_on(photos, capsys, monkeypatch):
    from recombine.training import engine as training

    def stopped(*_, **__):
        raise training.Interrupted(Path("runs/a"), 16, 32, signal.SIGTERM)

    monkeypatch.setattr("recombine.training.runs.fit", stopped)
    code, _, err = run(capsys, *f"train photos --attributes Smiling --images 32 --out runs/a {TINY}".split())
    assert code == 143 and "the same command again goes on from there" in err


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_command_goes_on(photos, capsys):
    command = f"train photos --attributes Smiling --images 4000000 --out runs/a {TINY}".split()
    process = subprocess.Popen([sys.executable, "-m", "recombine.cli", *command], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not Path("runs/a/tensorboard").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    stopped = re.search(r"stopped after ([\d,]+) of 4,000,000 images, all saved in runs/a; the same command again goes on", err)
    assert stopped, err
    assert rc.load("runs/a").schema.names == ("Smiling",)
    seen = int(stopped[1].replace(",", ""))
    code, _, err = run(capsys, *(str(seen + 16) if word == "4000000" else word for word in command))
    assert code == 0 and f"going on after {seen:,}" in err


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("phtoos", "there is no folder and no recipe 'phtoos'; recipes are avatars.demo"),
        ("avatars.dmeo", "did you mean 'avatars.demo'"),
        ("celeba.table1", "the recipe celeba.table1 needs --data, the folder to train on"),
        ("photos --data photos", "--data belongs to a recipe, and photos is a folder already"),
        ("photos --method ifcvae", f"no method 'ifcvae'; there are {', '.join(METHODS)}; did you mean 'ifcvaegan'"),
        ("photos --set widht=4", "splice has no setting 'widht'; it has .*did you mean 'width'"),
        ("photos --set width=wide", "setting 'width' takes a whole number, not 'wide'"),
        ("photos --set balanced=maybe", "setting 'balanced' takes true or false, not 'maybe'"),
        ("photos --method ifcvaegan --set scaling=none", "setting 'scaling' is one of released, means, not 'none'"),
        ("photos --preset papr", "splice has no preset 'papr'; it has photos, small"),
        ("photos --method stargan --preset papr", "stargan has no preset 'papr'; it has paper, small; did you mean 'paper'"),
        ("photos --images 0", "images must be at least 1, not 0"),
        ("photos --minutes 30 --images 800", "--images and --minutes both say how long to train; leave one of them out"),
        ("photos --minutes -1", "minutes must be at least 0, not -1"),
        ("photos --size big", "--size takes pixels, such as 64, or HEIGHTxWIDTH, such as 64x48, not 'big'"),
        ("photos --attributes Smilling", "no attribute 'Smilling'; there are .*did you mean 'Smiling'"),
        ("photos --method ifcvaegan --attributes person", "'person' is a group: leave it out of --attributes"),
        ("photos --out anna.png", "cannot write into .*anna.png"),
    ],
)
def test_train_refuses_what_cannot_be_trained(options, text, photos, capsys):
    code, out, err = run(capsys, "train", *options.split())
    assert (code, out) == (1, "") and re.search(text, err), err
    assert err.startswith("recombine: ") and err.count("\n") == 1


def test_train_says_so_where_several_processes_would_pack_at_once(photos, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = run(capsys, *"train photos --attributes Smiling".split())
    assert code == 1 and "recombine data FOLDER --pack PACK" in err


@pytest.mark.slow
def test_evaluate_prints_a_table_and_leaves_a_page(signs, sign_reader, here, capsys, monkeypatch):
    monkeypatch.setattr("recombine.evaluation.judge.judge_classifier", lambda *_, **__: sign_reader)
    settings = "--method ifcvaegan --images 32 --set width=4 --set num_latents=4 --set aux_width=8 --batch-size 8 --judge none"
    assert run(capsys, *f"train {signs.path} --attributes lamp,stripes {settings} --out runs/signs".split())[0] == 0
    code, out, _ = run(capsys, *"evaluate runs/signs --judge-images 20".split())
    assert code == 0 and "page: runs/signs/report.html" in out
    assert re.search(r"edits that succeed +[\d.]+ %", out) and re.search(r"lamp +[\d.]+ %", out)
    code, out, _ = run(capsys, *"evaluate runs/signs --pictures 20 --split test --json".split())
    assert code == 0 and json.loads(out)["split"] == "test"
    code, _, err = run(capsys, *"evaluate runs/signs --split train".split())
    assert code == 1 and "were used in training" in err and "--allow-training-data" in err


def test_older_names_of_options_stay(capsys):
    for command in ("evaluate run --judge-images 7", "evaluate run --pictures 7", "compare a --out b --judge-images 7", "compare a --out b --judge-pictures 7"):
        _, bound, _ = APP.parse_args(command.split(), exit_on_error=False, print_error=False)
        assert bound.kwargs["judge_images"] == 7, command
    for option in ("--judge", "--referee"):
        _, bound, _ = APP.parse_args(f"compare a --out b {option} thorough".split(), exit_on_error=False, print_error=False)
        assert bound.kwargs["judge"] == "thorough"


def test_methods_of_a_comparison_are_split_where_a_label_begins():
    _, bound, _ = APP.parse_args("compare a --out b --methods mad,mad:shares=2,1,0+hardest=3,ifcvaegan:aux_weight=0".split(), exit_on_error=False)
    assert bound.kwargs["methods"] == ("mad", "mad:shares=2,1,0+hardest=3", "ifcvaegan:aux_weight=0")


def test_evaluate_of_no_run_says_what_was_expected(here, capsys):
    code, _, err = run(capsys, *"evaluate nowhere".split())
    assert code == 1 and "there is no nowhere; expected a run folder" in err


@pytest.mark.slow
def test_demo_goes_from_nothing_to_a_page(here, capsys, monkeypatch):
    from recombine.methods.ifcvaegan import Config
    from recombine.recipes import RECIPES
    from recombine.training.recipe import Recipe, Synthetic, TrainConfig

    def nothing_to_learn(*_, **__):
        raise ValueError("nothing to learn in this test")

    for module in ("recombine.evaluation.judge", "recombine.evaluation.classifier"):
        monkeypatch.setattr(f"{module}.judge_classifier", nothing_to_learn)
    tiny = Recipe("ifcvaegan", Config(width=4, num_latents=4, aux_width=8), TrainConfig(images=32, batch_size=8), size=32, data=Synthetic(60))
    monkeypatch.setitem(RECIPES, "avatars.demo", lambda: tiny)
    code, out, err = run(capsys, *"demo --pictures 4 --json".split())
    assert code == 0 and "nothing to learn in this test" in err
    result = json.loads(out)
    assert Path(result["page"]).read_text().startswith("<!doctype html>")
    lines = [json.loads(line) for line in Path("runs/avatars/log.jsonl").read_text().splitlines()]
    assert max(line["images"] for line in lines) == 32 and result["judgement"]["pictures"] == 4
    assert {"drawing", "training", "total"} == set(result["minutes"]) and result["minutes"]["total"] > 0
    assert result["judgement"]["truth"]["edits"]["psnr"]["all"]["edited"]["n"] > 0
    assert run(capsys, *"edit set runs/avatars anna.png --label mouth=smile --out smiling".split())[0] == 0
