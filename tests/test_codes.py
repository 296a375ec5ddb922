"""Codes: immutable, named, the same for one image and ten thousand."""

import pytest
import torch

from recombine import Codes


def codes(count=3):
    return Codes(smile=torch.arange(count * 2.0).reshape(count, 2), rest=torch.arange(count * 4.0).reshape(count, 4, 1, 1))


def test_is_a_mapping_whose_length_is_its_parts():
    made = codes()
    assert list(made) == ["smile", "rest"] and len(made) == 2 and made.batch_size == 3
    assert dict(made)["smile"].shape == (3, 2)
    assert repr(made) == "Codes(smile: (3, 2), rest: (3, 4, 1, 1))"


def test_cannot_be_changed():
    made = codes()
    with pytest.raises(TypeError):
        made["smile"] = torch.zeros(3, 2)
    given = {"smile": torch.zeros(2, 1)}
    kept = Codes(given)
    given["hat"] = torch.zeros(2, 1)
    assert list(kept) == ["smile"]


def test_errors_name_what_exists(unchecked):
    with pytest.raises(KeyError, match=r"no part 'hat'; these codes have \['smile', 'rest'\]"):
        codes()["hat"]
    with pytest.raises(KeyError, match="no part 'hat'"):
        codes().replace(hat=torch.zeros(3, 1))
    with pytest.raises(ValueError, match=r"same number of images; these hold \{'a': 2, 'b': 3\}"):
        Codes(a=torch.zeros(2, 1), b=torch.zeros(3, 1))
    with pytest.raises(ValueError, match="at least one part"):
        Codes()
    with pytest.raises(ValueError, match=r"part 'a' must be a tensor \[batch, ...\], not float 1.0"):
        Codes(a=1.0)
    with pytest.raises(IndexError, match="no image 3; these codes hold 3"):
        codes()[3]
    with pytest.raises(ValueError, match="codes of 3 images cannot stand beside codes of 5"):
        codes().expand(5)


def test_replace_select_roll():
    made = codes()
    changed = made.replace(smile=torch.zeros(3, 2))
    assert changed["smile"].sum() == 0 and torch.equal(changed["rest"], made["rest"]) and made["smile"].sum() > 0
    assert list(made.select("rest")) == ["rest"]
    assert torch.equal(made.roll()["smile"][1], made["smile"][0]) and torch.equal(made.roll()["smile"][0], made["smile"][2])


def test_images_are_taken_by_position():
    made = codes()
    assert made[1].batch_size == 1 and torch.equal(made[1]["smile"], made["smile"][1:2])
    assert torch.equal(made[-1]["smile"], made["smile"][2:])
    assert made[:2].batch_size == 2
    assert torch.equal(made[torch.tensor([2, 0])]["smile"], made["smile"][[2, 0]])


def test_one_image_and_ten_thousand(tmp_path):
    for count in (1, 10_000):
        made = codes(count)
        made.save(tmp_path / "codes.safetensors")
        assert Codes.load(tmp_path / "codes.safetensors") == made
        assert Codes.concatenate([made[: count // 2], made[count // 2 :]] if count > 1 else [made]) == made


def test_names_of_any_kind_survive_saving_in_order(tmp_path):
    made = Codes({"Wearing Hat.2": torch.zeros(1, 1), "ä": torch.ones(1, 2), "001.a": torch.ones(1, 1)})
    made.save(tmp_path / "codes.safetensors")
    assert list(Codes.load(tmp_path / "codes.safetensors")) == list(made)


def test_moves_to_another_type_and_device():
    moved = codes().to(torch.float64)
    assert all(part.dtype == torch.float64 for part in moved.values())
    assert codes().to("meta").device.type == "meta"
    learnt = Codes(a=torch.ones(1, 1, requires_grad=True))
    assert not learnt.detach()["a"].requires_grad
