import hashlib

import numpy as np
import pytest

from recombine.data.packed import write_pack
from recombine.data.samplers import SAMPLERS, Balanced, Draw, Iid, InTurn, Macro, Pairs, TwoBatches
from recombine.data.schema import MISSING, Attribute, Schema

COUNT = 60
SCHEMA = Schema(
    (
        Attribute("person", "group", tuple("abcdefghijkl")),
        Attribute("clip", "group", tuple("0123")),
        Attribute("age", "continuous", low=0, high=1),
    ),
    height=8,
    width=8,
)


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    """Ten people with two clips of two images (40), one with one image, 9 images of nobody, 10 for validation."""
    person = np.full(COUNT, MISSING)
    person[:40] = np.arange(40) // 4
    person[40] = 10
    clip = np.full(COUNT, MISSING)
    clip[:40] = np.arange(40) // 2 % 2
    clip[40] = 0
    pictures = np.zeros((COUNT, 3, 8, 8), np.uint8)
    labels = {"person": person, "clip": clip, "age": np.zeros(COUNT)}
    splits = ["train"] * 50 + ["val"] * 10
    return write_pack(tmp_path_factory.mktemp("pack"), pictures, SCHEMA, [f"{i}.png" for i in range(COUNT)], labels, splits)


ALL = {
    "iid": lambda pack, **more: Iid(pack, **more),
    "two_batches": lambda pack, **more: TwoBatches(pack, **more),
    "pairs": lambda pack, **more: Pairs(pack, **more),
    "macro": lambda pack, **more: Macro(pack, **more),
    "balanced": lambda pack, **more: Balanced(pack, **more),
    "macro of clips": lambda pack, **more: Macro(pack, clip="clip", clips=2, images=2, **more),
}


def columns(draw):
    return [column for column in (draw.rows, draw.mirror, draw.partner, draw.partner_mirror) if column is not None]


def test_the_table_of_samplers_is_complete():
    assert SAMPLERS == {"iid": Iid, "balanced": Balanced, "two_batches": TwoBatches, "pairs": Pairs, "macro": Macro}


@pytest.mark.parametrize("name", ALL)
def test_a_batch_is_the_same_in_one_piece_or_many_and_in_any_order_of_asking(pack, name):
    sampler = ALL[name](pack, seed=3, mirror=True)
    whole = columns(sampler.draw(35, 90))  # begins in one epoch and ends in another
    fresh = ALL[name](pack, seed=3, mirror=True)
    parts = {start: columns(fresh.draw(35 + start, 30)) for start in (60, 0, 30)}
    for i, column in enumerate(whole):
        assert np.array_equal(column, np.concatenate([parts[start][i] for start in (0, 30, 60)]))


DRAWN = {
    "iid": "e0486749e411e0d1",
    "two_batches": "8c79a6ea76757584",
    "pairs": "588dfc69e328b412",
    "macro": "506db0b8d168d655",
    "balanced": "f836761a4e2844d7",
    "macro of clips": "a1a295df46ca770c",
}


@pytest.mark.parametrize("name", ALL)
def test_what_is_drawn_never_changes_as_runs_that_go_on_rely_on_it(pack, name):
    sampler, digest = ALL[name](pack, seed=7, mirror=True), hashlib.blake2b(digest_size=8)
    for position in range(0, 600, 24):
        for column in columns(sampler.draw(position, 24)):
            digest.update(column.tobytes())
    assert digest.hexdigest() == DRAWN[name]


def test_what_is_kept_of_the_epochs_is_little(pack):
    sampler = Pairs(pack, mirror=True)
    for position in range(0, 4000, 8):
        sampler.draw(position, 8)
    assert {name: len(epochs) for name, epochs in sampler.epochs._kept.items()} == dict.fromkeys(
        ("order", "partner", "mirror", "partner mirror"), 2
    )


@pytest.mark.parametrize("name", ALL)
def test_another_seed_gives_other_batches(pack, name):
    one, other = (columns(ALL[name](pack, seed=seed, mirror=True).draw(0, 40)) for seed in (0, 1))
    assert not any(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", ALL)
def test_mirroring_is_asked_for_and_even(pack, name):
    assert ALL[name](pack).draw(0, 8).mirror is None
    assert 0.45 < ALL[name](pack, mirror=True).draw(0, 5000).mirror.mean() < 0.55


def test_iid_shows_every_picture_of_the_split_once_an_epoch_in_a_new_order(pack):
    sampler = Iid(pack, "train", seed=1)
    epochs = [sampler.draw(start, 50).rows for start in (0, 50, 100)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1]) and not np.array_equal(epochs[1], epochs[2])
    assert sorted(Iid(pack, "val").draw(0, 10).rows) == list(range(50, 60))


def test_an_empty_split_is_named(pack):
    with pytest.raises(ValueError, match="no images in split 'test'"):
        Iid(pack, "test")


def test_the_two_batches_are_independent_and_each_an_epoch(pack):
    draw = TwoBatches(pack).draw(0, 50)
    assert sorted(draw.rows) == sorted(draw.partner) == list(range(50))
    assert (draw.rows == draw.partner).sum() < 8  # one expected by chance


def test_pairs_share_the_group_and_are_never_the_same_picture(pack):
    sampler = Pairs(pack, by="person")
    draw = sampler.draw(0, 400)
    person = pack.labels["person"]
    assert (person[draw.rows] == person[draw.partner]).all() and (person[draw.rows] >= 0).all()
    assert (draw.rows != draw.partner).all()
    assert sorted(draw.rows[:40]) == list(range(40))
    partners = [set(draw.partner[draw.rows == row]) for row in range(40)]
    assert all(len(found) > 1 for found in partners)  # drawn anew each epoch


def test_pairs_say_what_is_left_out(pack):
    sampler = Pairs(pack, by="person")
    assert sampler.left_out == 10  # one alone and nine of nobody
    assert "10 images have no partner" in repr(sampler)


def test_pairs_can_share_a_combination(pack):
    draw = Pairs(pack, by=["person", "clip"]).draw(0, 200)
    assert (draw.partner == draw.rows ^ 1).all()  # clips are rows 0 and 1, 2 and 3, ...


def test_pairs_that_cannot_be_are_refused(pack):
    with pytest.raises(ValueError, match=r"age is a number; images are grouped by"):
        Pairs(pack, by="age")
    with pytest.raises(ValueError, match="no two images of split 'val' share person"):
        Pairs(pack, "val")
    with pytest.raises(ValueError, match="no attribute of kind 'group'"):
        Pairs(pack.select("age"))
    with pytest.raises(KeyError, match=r"no attribute 'persona'.*did you mean 'person'"):
        Pairs(pack, by="persona")


def test_macro_batches_hold_whole_identities_with_different_pictures(pack):
    rows = Macro(pack, identity="person", images=4).draw(0, 40).rows.reshape(10, 4)
    person = pack.labels["person"][rows]
    assert (person == person[:, :1]).all() and sorted(person[:, 0]) == list(range(10))
    assert all(len(set(group)) == 4 for group in rows)


def test_macro_batches_of_clips_hold_both_clips_of_each_identity(pack):
    rows = Macro(pack, identity="person", clip="clip", clips=2, images=2).draw(0, 40).rows.reshape(10, 2, 2)
    person, clip = pack.labels["person"][rows], pack.labels["clip"][rows]
    assert (person == person[:, :1, :1]).all()
    assert (clip == clip[:, :, :1]).all() and (clip[:, 0] != clip[:, 1]).all()
    assert (rows[..., 0] != rows[..., 1]).all()


def test_macro_fills_up_by_repeating_and_says_what_is_left_out(pack):
    sampler = Macro(pack, identity="person", images=6)
    rows = sampler.draw(0, 6).rows
    assert len(set(rows)) == 4 and sampler.left_out == 10
    with pytest.raises(ValueError, match="no person of split 'val' has two images"):
        Macro(pack, "val")
    with pytest.raises(ValueError, match="2 or more images of 1 or more clips, not 1 of 1"):
        Macro(pack, images=1)


class Counting:
    """Rows are positions, so that what was asked can be read."""

    def draw(self, position, batch_size):
        return Draw(np.arange(position, position + batch_size))


def test_data_sets_take_turns_and_none_skips_a_picture():
    sampler = InTurn([Counting(), Counting()], shares=[2, 1])
    draws = [sampler.draw(step * 4, 4) for step in range(6)]
    assert [draw.source for draw in draws] == [0, 1, 0, 0, 1, 0]
    for source, count in ((0, 16), (1, 8)):
        seen = np.concatenate([draw.rows for draw in draws if draw.source == source])
        assert np.array_equal(seen, np.arange(count))


def test_shares_fit_the_data_sets():
    with pytest.raises(ValueError, match="2 data sets need as many shares"):
        InTurn([Counting(), Counting()], shares=[1])


def test_balanced_shows_rare_values_as_often_as_common_ones_in_every_second_place(tmp_path):
    # 3 of 60 images have a hat, half of the 60 are unlabelled; ages are 0 to 0.59, whose five parts hold 12 images each.
    hat = np.full(COUNT, MISSING)
    hat[:30], hat[:3] = 0, 1
    shape = Schema((Attribute("hat", "binary", ("0", "1")), Attribute("age", "continuous", low=0.0, high=0.6)), height=8, width=8)
    labels = {"hat": hat, "age": np.arange(COUNT) / 100}
    pack = write_pack(tmp_path / "p", np.zeros((COUNT, 3, 8, 8), np.uint8), shape, [f"{i}.png" for i in range(COUNT)], labels, ["train"] * COUNT)
    rows = Balanced(pack).draw(0, 8_000).rows
    even, odd = rows[::2], rows[1::2]
    assert np.bincount(even[: 2 * COUNT], minlength=COUNT).tolist() == [2] * COUNT, "as iid: all, once an epoch"
    # An odd place is about the hat half of the time, and then a hat half of the time; else 3 of 60 ages have one.
    assert np.isin(odd, [0, 1, 2]).mean() == pytest.approx(0.25 + 0.5 * 3 / 60, abs=0.03)
    assert Balanced(pack.select("age")).draw(0, 400).rows.shape == (400,)


def test_balanced_without_values_to_balance_is_iid(pack):
    only = pack.select("person")
    assert np.array_equal(Balanced(only).draw(0, 50).rows, Iid(only, name="balanced").draw(0, 50).rows)
