"""Options and names in messages."""

import pytest

from recombine.messages import command_line, option, printable


@pytest.mark.parametrize(
    ("name", "value", "python", "shell"),
    [
        ("on_bad", "skip", "on_bad='skip'", "--on-bad skip"),
        ("allow_training_data", True, "allow_training_data=True", "--allow-training-data"),
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
