import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from recombine.commands import data
from recombine.commands.compare import find_packs
from recombine.commands.reading import Reading, draw, find_pack
from recombine.comparison.plan import recipe_for
from recombine.data.packed import Pack
from recombine.data.synthetic import avatars, drawn, letters
from recombine.data.synthetic.truth import true_edits
from recombine.recipes import default_recipe
from recombine.training.recipe import Recipe, Synthetic, TrainConfig

PLAIN = {
    "letter": "S",
    "typeface": "sans",
    "weight": "regular",
    "colour": "blue",
    "paper": "cream",
    "x": 1.0,
    "y": -2.0,
    "height": 54.0,
    "tilt": 3.0,
}


def shape(**factors):
    """How much of every pixel is covered, [64, 64] in 0 to 1, of a black letter on white that stands upright in the middle."""
    still = {"colour": "black", "paper": "white", "x": 0.0, "y": 0.0, "tilt": 0.0}
    image = letters.render({**PLAIN, **still, **factors})[0].astype(float)
    return (image.max() - image) / np.ptp(image)


def centre(image):
    """Row and column of the middle of what is drawn."""
    return np.array([np.average(np.arange(64), weights=image.sum(axis)) for axis in (1, 0)])


def test_equal_factors_give_equal_pictures_of_the_wanted_size():
    image = letters.render(PLAIN)
    assert image.shape == (3, 64, 64) and image.dtype == np.uint8
    assert np.array_equal(image, letters.render(dict(PLAIN)))
    assert letters.render(PLAIN, size=33).shape == (3, 33, 33)


@pytest.mark.parametrize("name", [*letters.FACTORS, *letters.NUMBERS])
def test_every_value_of_every_factor_is_seen(name):
    values = letters.FACTORS.get(name) or letters.NUMBERS[name]
    images = [letters.render(letters.edit(PLAIN, name, value)).astype(int) for value in values]
    for one, other in itertools.combinations(images, 2):
        assert (np.abs(one - other).max(0) > 25).sum() >= 40      # 1 % of the pixels, each by a tenth of the range


def test_colours_and_papers_are_as_they_are_named():
    image = letters.render({**PLAIN, "letter": "E", "weight": "bold", "typeface": "slab", "colour": "green", "paper": "sky", "tilt": 0.0})
    assert image[:, 0, 0].tolist() == [0xBF, 0xDC, 0xF4]
    inked = np.abs(image.astype(int) - letters.rgb(letters.COLOURS["green"]).astype(int)).max(0) == 0
    assert inked.sum() > 200


def test_a_letter_stands_where_its_numbers_say():
    middle = centre(shape())
    assert np.allclose(middle, 31.5, atol=1)
    assert np.allclose(centre(shape(x=5.0)) - middle, (0, 3.2), atol=0.1)         # 5 % of 64 pixels
    assert np.allclose(centre(shape(y=5.0)) - middle, (3.2, 0), atol=0.1)
    for height in (50.0, 60.0):
        rows = np.nonzero(shape(letter="E", height=height) > 0.5)[0]
        assert np.ptp(rows) + 1 == pytest.approx(0.64 * height, abs=1)
    leaning = shape(letter="P", tilt=8.0)                                         # the stem's top lies further right
    stem = [np.nonzero(leaning[row] > 0.5)[0].min() for row in (20, 44)]
    assert stem[0] > stem[1] + 2


def test_all_typefaces_are_equally_high_and_bold_is_heavier():
    for typeface in letters.TYPEFACES:
        rows = np.nonzero(shape(letter="E", typeface=typeface) > 0.5)[0]
        assert np.ptp(rows) + 1 == pytest.approx(0.64 * 54, rel=0.12), typeface
        for letter in letters.CAPITALS:
            bold, regular = (shape(letter=letter, typeface=typeface, weight=weight).sum() for weight in ("bold", "regular"))
            assert bold > 1.15 * regular, (letter, typeface)


def test_no_letter_is_cut_off():
    corners = list(itertools.product(*(letters.NUMBERS[name] for name in ("x", "y", "tilt"))))
    for letter, typeface in itertools.product(letters.CAPITALS, letters.TYPEFACES):
        for x, y, tilt in corners:
            drawing = shape(letter=letter, typeface=typeface, weight="bold", x=x, y=y, tilt=tilt, height=60.0)
            assert not any(edge.any() for edge in (drawing[0], drawing[-1], drawing[:, 0], drawing[:, -1])), (letter, typeface)


def test_most_letters_are_no_letters_in_a_mirror():
    for letter in letters.CAPITALS:
        drawing = shape(letter=letter)
        others = [shape(letter=other) for other in letters.CAPITALS]
        nearest = min(np.abs(drawing[:, ::-1] - other).sum() for other in others)
        assert (nearest < 0.1 * drawing.sum()) == (letter == "A")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("typeface", "serfi", "typeface has no value 'serfi'; it has sans, slab, serif, script, hand; did you mean 'serif'"),
        ("wieght", "bold", "a letter has no factor 'wieght'.*did you mean 'weight'"),
        ("tilt", 9.0, "tilt lies between -8 and 8, not at 9"),
    ],
)
def test_edits_that_cannot_be_drawn_are_refused(name, value, message):
    with pytest.raises(ValueError, match=message):
        letters.edit(PLAIN, name, value)


def test_factors_must_be_whole():
    with pytest.raises(ValueError, match="a letter needs 'typeface'; these factors have letter"):
        letters.render({"letter": "A"})


def test_factors_are_uniform_and_independent():
    planned = letters.sample(8000, seed=1)
    assert planned[:100] == letters.sample(100, seed=1) != letters.sample(100, seed=2)
    columns = {name: np.array([values.index(f[name]) for f in planned]) for name, values in letters.FACTORS.items()}
    for name, column in columns.items():
        shares = np.bincount(column, minlength=len(letters.FACTORS[name])) / len(planned)
        assert np.abs(shares - 1 / len(shares)).max() < 0.02, name
    columns |= {name: np.array([f[name] for f in planned]) for name in letters.NUMBERS}
    for name, (low, high) in letters.NUMBERS.items():
        assert abs(columns[name].mean() - (low + high) / 2) < 0.02 * (high - low)
        assert np.ptp(columns[name]) > 0.99 * (high - low)
    related = np.abs(np.corrcoef(np.stack(list(columns.values())))) - np.eye(len(columns))
    assert related.max() < 0.05


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return letters.build(tmp_path_factory.mktemp("letters"), 96, size=32, seed=5, workers=1, progress=False)


def test_a_pack_gives_back_the_exact_factors_and_pictures(pack):
    assert [letters.truth(pack, row) for row in range(96)] == letters.sample(96, seed=5)
    assert pack.schema.names == (*letters.FACTORS, *letters.NUMBERS)
    for row in range(0, 96, 7):
        assert np.array_equal(letters.render(letters.truth(pack, row), 32), pack.images[row])


def test_the_truth_of_an_edit_is_the_letter_with_the_changed_factor(pack):
    for name, value in (("letter", "G"), ("typeface", "script"), ("weight", "bold"), ("colour", "orange"), ("paper", "rose"), ("tilt", -5.0)):
        wanted = letters.render({**letters.truth(pack, 3), name: value}, 32)
        assert np.allclose(true_edits(pack)(3, name, value), wanted / 127.5 - 1, atol=1e-6)


def test_no_combination_stands_on_two_sides():
    planned = letters.sample(6000)
    splits = np.array(letters.splits(planned))
    looks = np.array([" ".join(factors[name] for name in letters.FACTORS) for factors in planned])
    sides = [set(looks[splits == split]) for split in ("train", "val", "test")]
    assert sum(map(len, sides)) == len(set(looks)) and (splits == "train").mean() == pytest.approx(0.8, abs=0.02)
    for name, values in letters.FACTORS.items():             # yet every value is in each, about as often as the others
        for split in ("train", "val", "test"):
            shares = [np.mean([f[name] == value for f, s in zip(planned, splits, strict=True) if s == split]) for value in values]
            assert min(shares) > 0.7 / len(values), (name, split)


def test_a_second_build_opens_the_first_and_an_interrupted_one_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(drawn, "CHUNK", 8)
    whole = letters.build(tmp_path / "whole", 24, size=16, workers=1, progress=False)
    written = (tmp_path / "whole" / "manifest.json").stat().st_mtime_ns
    assert letters.build(tmp_path / "whole", 24, size=16, workers=1, progress=False).fingerprint == whole.fingerprint
    assert (tmp_path / "whole" / "manifest.json").stat().st_mtime_ns == written

    draw, sizes = drawn.draw_chunk, []

    def dying(render, factors, size, path):
        if len(sizes) == 2:
            raise KeyboardInterrupt
        sizes.append(len(factors))
        draw(render, factors, size, path)

    monkeypatch.setattr(drawn, "draw_chunk", dying)
    with pytest.raises(KeyboardInterrupt):
        letters.build(tmp_path / "cut", 24, size=16, workers=1, progress=False)
    sizes.pop()                                              # the next call may draw one chunk, the one that is missing
    resumed = letters.build(tmp_path / "cut", 24, size=16, workers=1, progress=False)
    assert resumed.fingerprint == whole.fingerprint


def test_a_pack_of_avatars_is_not_overwritten(tmp_path):
    avatars.build(tmp_path, 9, size=16, workers=1, progress=False)
    with pytest.raises(ValueError, match="holds a pack that is not of letters; choose another folder"):
        letters.build(tmp_path, 9, size=16, progress=False)
    assert "hair" in Pack(tmp_path).schema.names
    with pytest.raises(ValueError, match="count is the number of letters to draw, 1 or more, not 0"):
        letters.build(tmp_path / "none", 0)


def test_a_recipe_says_which_data_set_is_drawn(tmp_path):
    recipe = Recipe("ifcvaegan", None, TrainConfig(), size=16, data=Synthetic(12, seed=3, name="letters"))
    pack = find_pack(recipe, [], tmp_path, Reading())
    assert [letters.truth(pack, row) for row in range(12)] == letters.sample(12, seed=3)
    assert Synthetic().name == "avatars"
    with pytest.raises(ValueError, match="no drawn data set 'leters'; there are avatars, letters; did you mean 'letters'"):
        find_pack(replace(recipe, data=Synthetic(name="leters")), [], tmp_path, Reading())
    assert default_recipe("matdr", "letters")[1] == "recipe matdr.avatars"
    assert not default_recipe("stargan", "letters")[0].train.mirror


def test_the_word_letters_stands_for_a_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "draw", partial(draw, count=12))
    found = data.examine(Path("letters"), Path("packs/letters"), Reading(size="16"))
    assert found["pictures"] == 12 and found["pack"] == "packs/letters" and letters.LETTERS.fills(Pack("packs/letters"))
    with pytest.raises(ValueError, match="letters are drawn into the folder that pack='FOLDER' names; say which"):
        data.examine(Path("letters"), None, Reading())
    with pytest.raises(ValueError, match="letters are square; --size takes one number for them, not 16x24"):
        draw("letters", tmp_path, Reading(size="16x24"))
    Path("letters").mkdir()                                  # a folder of this name comes first
    with pytest.raises(ValueError, match="no image"):
        data.examine(Path("letters"), Path("packs/other"), Reading())


def test_methods_are_compared_on_letters_by_recipes_for_drawn_images(tmp_path):
    packs = find_packs(["letters"], tmp_path, Reading(size="16"), 12)
    assert list(packs) == ["letters"] and len(packs["letters"]) == 12
    recipe, origin = recipe_for("ifcvaegan", packs["letters"], ["letter", "weight"])
    assert origin == "recipe ifcvaegan.letters" and (recipe.size, recipe.attributes) == (16, ("letter", "weight"))
    with pytest.raises(ValueError, match="no attribute of kind 'group'"):
        recipe_for("rodi", packs["letters"], ["letter"])     # letters have no group from which pairs could be drawn
