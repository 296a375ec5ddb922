"""The page holds everything it shows, escapes what it is given, and names what was measured."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from compact_editor import CompactEditor
from conftest import SignReader
from PIL import Image

from recombine.evaluation.judge import judge
from recombine.evaluation.judgement import Judgement
from recombine.evaluation.measures import MEASURES
from recombine.metrics.realism import Extractor
from recombine.reports.curves import Axis, log_panels, panel
from recombine.reports.run import report
from recombine.training.log import read_log

MEANS = Extractor("<means>", lambda pictures: torch.nn.functional.avg_pool2d(pictures, 8).flatten(1))
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Reads a page, and fails where a tag is not closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.tags, self.text = [], [], [], ""
        self.feed(text)
        assert self.open == []
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += " " + data


PICTURES = ("reconstruction", "sensitivity", "judge", "edits", "swaps", "truth")
NOTHING_LEFT_OUT = {"perceptual": lambda images, truth: (images - truth).abs().mean((1, 2, 3))}


@pytest.fixture
def judgement(sign_editor, signs, sign_reader, true_sign):
    options = {"classifier": sign_reader, "render": true_sign, "truths": 12, "sections": PICTURES, **NOTHING_LEFT_OUT}
    return judge(sign_editor("damaging"), signs, **options)


@pytest.fixture(scope="module")
def whole(signs):
    """A judgement of everything, with probes that are hardly trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recombine.metrics.leakage.DROPOUTS", (0.0,))
        patch.setattr("recombine.metrics.probes.EPOCHS", 5)
        return judge(CompactEditor(), signs, classifier=SignReader(), extractor=MEANS)


@pytest.fixture
def run(tmp_path):
    lines = [
        {"images": n, "autoencoder/reconstruct": 100 / n, "critic/real": 0.5, "edit_success/all": n / 4000, "images_per_second": 90.0}
        for n in range(100, 4000, 100)
    ]
    lines.insert(3, {"images": 300, "event": "rolled back", "text": "loss was NaN"})
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"images": 40')
    (tmp_path / "config.json").write_text(json.dumps({"method": "a<b", "train": {"seed": 3}}))
    return tmp_path


@pytest.fixture
def page(run, judgement, sign_editor, signs):
    path = report(run, judgement, model=sign_editor("damaging"), pack=signs, title="<script>alert(1)</script> & more")
    return Page(path.read_text())


def test_it_needs_nothing_from_outside(page):
    assert not {"script", "link", "iframe"} & set(page.tags)
    for tag, name, value in page.attributes:
        if name in ("src", "href"):
            assert value.startswith("data:image/"), (tag, name)
        assert not name.startswith("on")
    assert "url(" not in page.text and "@import" not in page.text


def test_names_stay_text(page):
    assert "<script>alert(1)</script> & more" in page.text
    assert "a<b, judged on 60 images" in page.text


def test_headline_numbers_are_those_of_the_judgement(page, judgement):
    success = judgement.edits.all.success
    interval = f"{100 * success.low:.1f} to {100 * success.high:.1f} % n = 180"
    assert f"edits that succeed {100 * success.value:.1f} % {interval} true images: 100.0 %" in page.text
    assert "Left out" not in page.text


def test_embedded_pictures_are_pictures(page):
    pngs = [value for tag, name, value in page.attributes if name == "src" and value.startswith("data:image/png")]
    shapes = [Image.open(io.BytesIO(base64.b64decode(value.partition(",")[2]))).size for value in pngs]
    # Original, reconstructed, 3 colours, 2 lamps, 2 stripes, 3 shades: columns of 5; then swaps of 4 parts, 6 by 6.
    assert shapes == [(16, 5 * 18 - 2)] * 12 + [(6 * 18 + 2, 6 * 18 + 2)] * 4
    assert all(alt for tag, name, alt in page.attributes if name == "alt")


def test_swaps_stand_where_the_words_say(run, judgement, sign_editor, signs):
    text = report(run, judgement, model=sign_editor("perfect"), pack=signs).read_text()
    data = re.search(r'<img src="data:image/png;base64,([^"]*)"[^>]*alt="swaps of lamp"', text).group(1)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert pixels[0, 0, 3] == 0  # the corner is clear
    lamp = np.array([[pixels[18 * i + 4, 18 * j + 14, 0] for j in range(6)] for i in range(6)])
    colour = np.array([[pixels[18 * i + 4, 18 * j + 4, :3].argmax() for j in range(6)] for i in range(6)])
    assert (lamp[1:, 1:] == lamp[0, 1:]).all()  # the lamp is that of the image above
    assert (colour[1:, 1:] == colour[1:, :1]).all()  # the colour is that of the image on the left
    assert len(set(lamp[0, 1:])) == 2


def test_one_json_holds_the_same(page, run, judgement):
    stored = json.loads((run / "report.json").read_text())
    assert Judgement.from_json(stored["judgement"]) == judgement and stored["config"]["train"]["seed"] == 3


def test_log_passes_over_events_and_what_a_crash_cut_off(run):
    log = read_log(run / "log.jsonl")
    assert [entry["images"] for entry in log] == list(range(100, 4000, 100))
    assert read_log(run / "no.jsonl") == []


def test_a_panel_for_every_group(run, judgement):
    panels = log_panels(read_log(run / "log.jsonl"))
    assert [panel.title for panel in panels] == ["autoencoder", "critic", "edit success", "images per second"]
    page = Page(report(run, judgement).read_text())
    drawn = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert drawn == [f"{panel.title} while it trains" for panel in panels]


def test_curves_stand_where_their_values_are():
    drawn = panel("loss", {"a": [[(0, 4.0), (50, 1.0), (100, 0.0)]]}, others=[[(0, 2.0), (100, 2.0)]])
    assert drawn.lines == {"a": "M0.0 0.0 120.0 82.5 240.0 110.0"}  # 240 wide, 110 high, the largest value above
    assert drawn.others == ["M0.0 55.0 240.0 55.0"]
    assert drawn.x_marks == [(0.0, "0"), (120.0, "50"), (240.0, "100")]
    assert drawn.y_marks == [(110.0, "0"), (55.0, "2"), (0.0, "4")]


def test_a_term_that_towers_above_the_others_makes_the_axis_logarithmic():
    drawn = panel("loss", {"a": [[(0, 1000.0), (100, 1.0), (200, 1.0)]]})
    assert drawn.y_marks == [(110.0, "1"), (36.7, "100")]
    assert Axis(1, 1000, 90, True).place([1, 10, 1000]).tolist() == pytest.approx([0, 30, 90])
    assert panel("constant", {"a": [[(0, 0.5), (1, 0.5)]]}).lines == {"a": "M0.0 55.0 240.0 55.0"}


def test_nested_losses_are_read_too(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"images": 10, "losses": {"critic/real": 0.5}, "edit_success": {"all": 0.1}}\n')
    assert read_log(tmp_path / "log.jsonl") == [{"images": 10, "critic/real": 0.5, "edit_success/all": 0.1}]


def test_training_pictures_are_marked(tmp_path, sign_editor, signs, sign_reader):
    options = {"split": "train", "images": 5, "classifier": sign_reader, "sections": PICTURES, "allow_training_data": True}
    marked = judge(sign_editor(), signs, **options)
    text = Page(report(tmp_path, marked).read_text()).text
    assert "These images were used in training" in text and "judged on 5 of 300 images" in text
    assert "Left out: truth" in text


def test_what_the_codes_tell_stands_on_the_page(tmp_path, whole):
    text = report(tmp_path, whole).read_text()
    words = Page(text).text
    for found in whole.leakage.off_part.values():
        assert f"{100 * found.value:.1f} % {100 * found.low:.1f} to {100 * found.high:.1f} % n = 60" in words
    assert f"{whole.information.value:.3f} nats {whole.information.low:.3f} to" in words
    assert "Feature extractor: <means>; 12 features, 60 images on both sides." in words
    for part, found in whole.recognition["maker"].verification.items():
        assert f" {part} {100 * found.value:.1f} %" in words
    assert "Left out: maker kept" in words


def test_words_are_those_of_the_catalogue(tmp_path, whole):
    words = Page(report(tmp_path, whole).read_text()).text
    for key in ("edit_success", "edit_kept", "success", "leakage", "verification"):
        assert words.count(MEASURES[key].title) >= 2 and MEASURES[key].definition in words, key


def test_every_probe_has_its_map_with_own_cells_marked(tmp_path, whole):
    text = report(tmp_path, whole).read_text()
    maps = re.findall(r"Read by a fresh (?:linear|two-layer) probe</h3>(.*?)</table>", text, re.S)
    assert len(maps) == 2
    for probe, found in zip(("linear", "two_layer"), maps, strict=True):
        assert re.findall("<span>(.*?)</span>", found) == ["colour", "lamp", "stripes", "shade"]
        rows = dict(re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', found, re.S))
        assert list(rows) == ["colour", "lamp", "stripes", "shade", "rest"]
        owned = {part: [i for i, cell in enumerate(re.findall("<td(.*?)>", row)) if "own" in cell] for part, row in rows.items()}
        assert owned == {"colour": [0], "lamp": [1], "stripes": [2], "shade": [3], "rest": []}
        leak = whole.leakage.matrix[probe]["rest"]["lamp"]
        assert f'--damage:{max(0, leak.above.value):.3f}" title="right in {100 * leak.accuracy.value:.1f} %' in rows["rest"]
        assert f">{100 * leak.above.value:+.0f}<" in rows["rest"] and ">R² " in rows["rest"]


def test_a_page_without_codes_has_no_empty_sections(run, judgement):
    text = report(run, judgement).read_text()
    assert not {"Codes", "Realism", "Recognition"} & set(re.findall("<h2>(.*?)</h2>", text))
