"""Batches read a step ahead: the same as read at once, whatever is asked next."""

import warnings

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from recombine.data.packed import write_pack
from recombine.data.samplers import Iid, Pairs
from recombine.data.schema import Attribute, Schema
from recombine.training.reader import Reader


@pytest.fixture
def fabric():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning_fabric")
        yield Fabric(accelerator="cpu", devices=1)


@pytest.fixture
def read(fabric):
    """Makes readers, and stops them."""
    readers = []

    def make(pack, sampler, seed=0, batch_size=8):
        readers.append(Reader(fabric, pack, batch_size, torch.float32))
        readers[-1].follow(sampler, seed)
        return readers[-1]

    yield make
    for reader in readers:
        reader.close()


def assert_drawn(batch, pack, rows, mirror):
    expected = pack.batch(rows, mirror=mirror)
    assert torch.equal(batch.images, expected.images) and batch.rows.tolist() == list(rows)
    assert all(torch.equal(batch.labels[name], expected.labels[name]) for name in pack.schema.names)
    assert all(torch.equal(batch.known[name], expected.known[name]) for name in pack.schema.names)


def test_every_batch_is_the_samplers(signs, read):
    sampler = Iid(signs, "train", 3, mirror=True)
    reader = read(signs, sampler)
    for position in (0, 8, 16, 16, 160, 0):  # in order, again, ahead and back
        draw = sampler.draw(position, 8)
        batch = reader.batch(position)
        assert_drawn(batch, signs, draw.rows, draw.mirror)
        assert (batch.offset, batch.whole, batch.partner) == (0, 8, None)


def test_partners_come_with_noise_of_their_own(signs, read):
    sampler = Pairs(signs, "train", 3, mirror=True)
    batch, draw = read(signs, sampler).batch(8), sampler.draw(8, 8)
    assert_drawn(batch, signs, draw.rows, draw.mirror)
    assert_drawn(batch.partner, signs, draw.partner, draw.partner_mirror)
    assert not torch.equal(batch.noise("z", 2), batch.partner.noise("z", 2))


def test_another_order_begins_with_the_next_batch(signs, read):
    first, second = Iid(signs, "train", 1), Iid(signs, "train", 2)
    reader = read(signs, first)
    reader.batch(0)
    noise = reader.batch(8).noise("z", 2)
    reader.follow(second, 5)
    batch = reader.batch(8)
    assert batch.rows.tolist() == second.draw(8, 8).rows.tolist() and not torch.equal(batch.noise("z", 2), noise)


def test_an_error_in_the_thread_reaches_the_step_that_needs_it(signs, read):
    class Broken(Iid):
        def draw(self, position, batch_size):
            if position == 16:
                raise OSError("the disk is gone")
            return super().draw(position, batch_size)

    reader = read(signs, Broken(signs, "train"))
    reader.batch(0)
    reader.batch(8)
    with pytest.raises(OSError, match="the disk is gone"):
        reader.batch(16)


@pytest.mark.parametrize("bits", [8, 16])
def test_mirrored_images_and_labels(tmp_path, bits):
    attributes = (Attribute("yaw", "continuous", low=-1.0, high=1.0, mirror="negate"), Attribute("left", "binary", ("0", "1"), mirror="negate"))
    pixels = np.random.default_rng(0).integers(0, 2**bits, (4, 1, 2, 3)).astype(f"u{bits // 8}")
    labels = {"yaw": np.array([0.5, np.nan, -0.25, 1.0]), "left": np.array([1, 0, -1, 1])}
    pack = write_pack(tmp_path, pixels, Schema(attributes, 2, 3, channels=1, bits=bits), list("abcd"), labels, ["train"] * 4)
    turned = np.array([True, False, True, False])
    batch, late = pack.batch([0, 1, 2, 3], mirror=turned), pack.stored([0, 1, 2, 3], mirror=turned, flip=False).batch()
    assert torch.equal(batch.images, late.images)  # as a device turns them round
    expected = pixels / ((2**bits - 1) / 2) - 1
    expected[[0, 2]] = expected[[0, 2], ..., ::-1]
    assert torch.allclose(batch.images, torch.from_numpy(expected).float(), atol=1e-6)
    assert list(batch.labels) == ["yaw", "left"]
    assert batch.labels["yaw"].tolist() == [-0.5, 0.0, 0.25, 1.0] and batch.known["yaw"].tolist() == [True, False, True, True]
    assert batch.labels["left"][[0, 1, 3]].tolist() == [0, 0, 1] and batch.known["left"].tolist() == [True, True, False, True]
    assert batch.labels["left"].dtype == torch.int64 and batch.labels["yaw"].dtype == torch.float32
