import numpy as np
import pytest
from PIL import Image

from recombine.data.packed import Pack
from recombine.data.synthetic import sprites

VARIANTS = {"body": 2, "eyes": 1, "bottomwear": 2, "topwear": 2, "shoes": 1, "hair": 3}
FIGURE = {"body": "0", "eyes": "0", "bottomwear": "0", "topwear": "0", "shoes": "0", "hair": "0"}
STANDING = {**FIGURE, "action": "walk", "direction": "back", "frame": "0"}


def called(factors):
    return " ".join(factors[layer] for layer in sprites.LAYERS)


def sheet(layer, variant):
    """Every cell is clear but for one row of pixels per layer, whose colour tells layer, variant and cell."""
    cells = np.zeros((21, 13, 64, 64, 4), np.uint8)
    place = sprites.LAYERS.index(layer)
    cells[:, :, 8 * place : 8 * place + 16, :, 0] = 40 * place + 10 * variant
    cells[..., 8 * place : 8 * place + 16, :, 1] = np.arange(21)[:, None, None, None]
    cells[..., 8 * place : 8 * place + 16, :, 2] = np.arange(13)[None, :, None, None]
    cells[:, :, 8 * place : 8 * place + 16, :, 3] = 255
    return Image.fromarray(cells.transpose(0, 2, 1, 3, 4).reshape(21 * 64, 13 * 64, 4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("sheets")
    for layer, count in VARIANTS.items():
        (root / layer).mkdir()
        for variant in range(count):
            sheet(layer, variant).save(root / layer / f"{variant}.png", compress_level=1)
    return root


@pytest.fixture(scope="module")
def sheets(folder):
    return sprites.open_sheets(folder)


@pytest.mark.parametrize(
    ("pose", "row", "column"),
    [
        ({"action": "spellcast", "direction": "left", "frame": "6"}, 1, 6),
        ({"action": "walk", "direction": "back", "frame": "8"}, 8, 8),
        ({"action": "slash", "direction": "right", "frame": "0"}, 15, 0),
        ({"action": "shoot", "direction": "front", "frame": "12"}, 18, 12),
        ({"action": "hurt", "direction": "front", "frame": "5"}, 20, 5),
    ],
)
def test_a_pose_is_the_cell_that_the_layout_of_the_sheets_says(sheets, pose, row, column):
    image = sprites.render(sheets, {**FIGURE, **pose})
    assert image.shape == (3, 64, 64) and image.dtype == np.uint8
    assert image[:, 0, 0].tolist() == [0, row, column]


def test_higher_layers_cover_lower_ones_and_the_rest_is_background(sheets):
    image = sprites.render(sheets, {**STANDING, "hair": "2", "body": "1"}, background=(7, 8, 9))
    # Layer k paints rows 8k to 8k + 16, so of each but the topmost (hair, 5) the first eight rows stay in sight.
    assert image[0, ::8, 0].tolist() == [10, 40, 80, 120, 160, 220, 220, 7]
    assert image[:, 63, 63].tolist() == [7, 8, 9]


def test_half_transparent_pixels_mix_with_what_is_below(folder, tmp_path):
    for layer in VARIANTS:
        (tmp_path / layer).mkdir()
        Image.new("RGBA", (832, 1344), (0, 0, 0, 0)).save(tmp_path / layer / "0.png", compress_level=1)
    Image.new("RGBA", (832, 1344), (200, 100, 0, 51)).save(tmp_path / "hair" / "0.png", compress_level=1)
    # 51 / 255 = 0.2: 0.8 * 255 + 0.2 * (200, 100, 0) = (244, 224, 204)
    image = sprites.render(sprites.open_sheets(tmp_path), STANDING)
    assert image[:, 5, 5].tolist() == [244, 224, 204]


def test_characters_differ_and_a_character_has_no_pose_twice(sheets):
    drawn = sprites.sample(sheets, 96, per_character=4)
    assert drawn == sprites.sample(sheets, 96, per_character=4) != sprites.sample(sheets, 96, seed=1, per_character=4)
    names = [called(each) for each in drawn]
    assert len(set(names)) == 24 and all(names[i] == names[4 * (i // 4)] for i in range(96))
    assert len({tuple(each.items()) for each in drawn}) == 96


def test_actions_and_directions_are_equally_frequent(sheets):
    drawn = sprites.sample(sheets, 24 * 40, per_character=40)
    for name, values in (("action", sprites.TURNING), ("direction", sprites.DIRECTIONS)):
        shares = np.array([sum(each[name] == value for each in drawn) for value in values]) / len(drawn)
        assert np.abs(shares - 1 / len(values)).max() < 0.05


def test_a_pack_holds_the_pictures_of_its_factors_and_whole_characters_per_split(sheets, folder, tmp_path):
    pack = sprites.build(tmp_path / "pack", folder, count=120, per_character=6, background=(1, 2, 3), progress=False)
    assert pack.fingerprint == Pack(tmp_path / "pack").fingerprint
    assert pack.schema.background == (1, 2, 3) and len(pack) == 120
    expected = sprites.sample(sheets, 120, per_character=6)
    for row in range(120):
        assert sprites.truth(pack, row) == expected[row]
        assert np.array_equal(pack.images[row], sprites.render(sheets, expected[row], (1, 2, 3)))
        held = {name: pack.schema[name].values[pack.labels[name][row]] for name in ("character", "pose")}
        assert held["character"] == called(expected[row])
        assert held["pose"] == " ".join(expected[row][name] for name in ("action", "direction", "frame"))
    sides = [set(pack.labels["character"][pack.rows(split)].tolist()) for split in ("train", "val", "test")]
    assert [len(side) for side in sides] == [16, 2, 2]
    assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
    assert pack.schema["direction"].mirror == (("left", "right"),)
    assert ("walk left 3", "walk right 3") in pack.schema["pose"].mirror and len(pack.schema["pose"].mirror) == 43


def test_only_the_values_of_the_chosen_actions_become_classes(folder, tmp_path):
    pack = sprites.build(tmp_path, folder, count=24, per_character=4, actions=("hurt", "slash"), progress=False)
    assert pack.schema["action"].values == ("slash", "hurt")
    assert pack.schema["frame"].values == tuple("012345")
    assert set(pack.labels["action"]) == {0, 1}
    assert pack.schema["pose"].values[-1] == "hurt front 5" and len(pack.schema["pose"].values) == 30
    alone = sprites.label_table(sprites.open_sheets(folder), [{**STANDING, "action": "hurt", "direction": "front"}], ("hurt",))
    assert alone["direction"].values == ("front",) and alone["direction"].mirror == "keep"


def test_an_edit_changes_one_factor(sheets):
    changed = sprites.edit(sheets, STANDING, "frame", 3)
    assert changed == {**STANDING, "frame": "3"} and STANDING["frame"] == "0"


def test_an_edit_changes_a_whole_character_or_pose(sheets):
    posed = sprites.edit(sheets, STANDING, "pose", "hurt front 2")
    assert posed == {**FIGURE, "action": "hurt", "direction": "front", "frame": "2"}
    someone = sprites.edit(sheets, posed, "character", "1 0 1 0 0 2")
    assert someone == {**posed, "body": "1", "bottomwear": "1", "hair": "2"}
    with pytest.raises(ValueError, match="a pose is written as 'action direction frame', not as 'walk left'"):
        sprites.edit(sheets, STANDING, "pose", "walk left")


def test_variants_that_lack_an_action_are_used_only_without_it(folder, tmp_path):
    for layer in VARIANTS:
        (tmp_path / layer).mkdir()
        (tmp_path / layer / "0.png").symlink_to(folder / layer / "0.png")
    robe = np.array(Image.open(folder / "topwear" / "1.png"))
    robe[4 * 64 : 8 * 64] = 0                                      # rows 4 to 7: thrust
    Image.fromarray(robe).save(tmp_path / "topwear" / "robe.png", compress_level=1)
    Image.new("RGBA", (832, 1344)).save(tmp_path / "shoes" / "bare.png", compress_level=1)
    sheets = sprites.open_sheets(tmp_path)
    assert {each["topwear"] for each in sprites.sample(sheets, 16)} == {"0"}
    walking = sprites.sample(sheets, 32, actions=("walk", "slash"))
    assert {each["topwear"] for each in walking} == {"0", "robe"} and {each["shoes"] for each in walking} == {"0", "bare"}
    assert sprites.label_table(sheets, walking, ("walk", "slash"))["topwear"].values == ("0", "robe")
    (tmp_path / "topwear" / "0.png").unlink()
    with pytest.raises(ValueError, match="no sheet of 'topwear' has all of walk, thrust: robe lacks thrust; ask for fewer"):
        sprites.sample(sprites.open_sheets(tmp_path), 8, actions=("walk", "thrust"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("hair", "7", "hair has no value '7'; it has 0, 1, 2"),
        ("hiar", "0", "no factor 'hiar'.*did you mean 'hair'"),
        ("action", "wlak", "did you mean 'walk'"),
        ("frame", 9, "walk has 9 frames, 0 to 8; there is no frame 9"),
        ("action", "hurt", "hurt is drawn from the front only, not from direction 'back'"),
    ],
)
def test_edits_that_cannot_be_composed_are_refused(sheets, name, value, message):
    with pytest.raises(ValueError, match=message):
        sprites.edit(sheets, STANDING, name, value)


def test_factors_must_be_whole(sheets):
    with pytest.raises(ValueError, match="a sprite needs 'action'; these factors have body"):
        sprites.render(sheets, FIGURE)


def test_more_characters_or_poses_than_there_are_is_refused(sheets):
    with pytest.raises(ValueError, match="these sheets make 24 characters; 25 were asked for"):
        sprites.sample(sheets, 25 * 8)
    with pytest.raises(ValueError, match=r"hurt have 6 poses.* not at 8"):
        sprites.sample(sheets, 8, actions=("hurt",))
    with pytest.raises(ValueError, match=r"actions are some of spellcast.* not dance"):
        sprites.sample(sheets, 8, actions=("walk", "dance"))


def test_a_folder_without_sheets_says_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere.*one folder of PNG sheets for each of body, eyes"):
        sprites.open_sheets(tmp_path / "nowhere")
    for layer in ("body", "eyes", "bottomwear", "topwear", "shoes"):
        (tmp_path / layer).mkdir()
        Image.new("RGBA", (64, 64)).save(tmp_path / layer / "0.png")
    with pytest.raises(ValueError, match="has no sheets in hair; expected one folder"):
        sprites.open_sheets(tmp_path)


def test_sheets_that_are_none_are_named(folder, tmp_path):
    for layer in VARIANTS:
        (tmp_path / layer).symlink_to(folder / layer)
    (tmp_path / "hair").unlink()
    (tmp_path / "hair").mkdir()
    Image.new("RGBA", (64, 64)).save(tmp_path / "hair" / "0.png")
    (tmp_path / "hair" / "1.png").write_text("no image")
    with pytest.raises(ValueError, match=r"0.png is 64 x 64 pixels; a sheet is 832 x 1344"):
        sprites.render(sprites.open_sheets(tmp_path), STANDING)
    with pytest.raises(ValueError, match=r"1.png cannot be read as an image"):
        sprites.render(sprites.open_sheets(tmp_path), {**STANDING, "hair": "1"})


def test_variants_are_in_the_order_of_their_numbers(tmp_path):
    for layer in VARIANTS:
        (tmp_path / layer).mkdir()
        for name in ("10", "2", "bald"):
            Image.new("RGBA", (8, 8)).save(tmp_path / layer / f"{name}.png")
    assert sprites.open_sheets(tmp_path).variants("hair") == ("2", "10", "bald")


def test_a_folder_of_sheets_is_told_from_one_of_pictures(folder, tmp_path):
    assert sprites.is_sheets(folder) and not sprites.is_sheets(tmp_path)


def test_the_command_line_composes_sheets_and_uses_them_again(folder, tmp_path, monkeypatch):
    from recombine.commands.reading import Reading, find_pack
    from recombine.recipes import RECIPES

    monkeypatch.setattr(sprites.build, "__defaults__", (64, *sprites.build.__defaults__[1:]))  # images
    pack = find_pack(RECIPES["rodi.sprites"](), [folder], tmp_path, Reading())
    monkeypatch.setattr(sprites, "build", None)
    again = find_pack(RECIPES["rodi.sprites"](), [folder], tmp_path, Reading())
    assert len(pack) == len(again) == 64 and "character" in pack.schema.names
