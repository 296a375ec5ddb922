"""Options and names in messages."""

import pytest

from recombine.cli import fail
from recombine.commands.options import print_json, say
from recombine.messages import command_line, option, printable, process_number


@pytest.mark.parametrize(
    ("name", "value", "python", "shell"),
    [
        ("on_bad", "skip", "on_bad='skip'", "--on-bad skip"),
        ("allow_training_data", True, "allow_training_data=True", "--allow-training-data"),
        ("mirror", False, "mirror=False", "--no-mirror"),
        ("table", None, "the option table", "--table"),
    ],
)
def test_options_are_spelled_for_the_reader(name, value, python, shell):
    assert option(name, value) == python
    with command_line():
        assert option(name, value) == shell
    with pytest.raises(RuntimeError), command_line():
        raise RuntimeError
    assert option(name, value) == python


@pytest.mark.parametrize(
    ("name", "shown"), [("a\nb", "a\\nb"), ("\x1b[31m", "\\x1b[31m"), ("grün 🙂", "grün 🙂"), ("\u202egnp", "\\u202egnp"), ("\udcff", "\\udcff")]
)
def test_control_characters_are_escaped(name, shown):
    assert printable(name) == shown


@pytest.mark.parametrize(("world", "rank", "number"), [(None, None, 0), ("1", "3", 0), ("4", "0", 0), ("4", "3", 3)])
def test_only_one_of_several_processes_speaks(monkeypatch, capsys, world, rank, number):
    for name, value in (("WORLD_SIZE", world), ("RANK", rank)):
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    assert process_number() == number
    say("done")
    print_json({"done": True})
    said = capsys.readouterr()
    assert bool(said.out) == bool(said.err) == (number == 0)
    fail("the disk is gone", 1)
    assert capsys.readouterr().err == ("recombine (process 3): the disk is gone\n" if number else "recombine: the disk is gone\n")
