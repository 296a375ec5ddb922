"""The bar on a terminal, and where there is none to show."""

import pytest

from recombine import progress
from recombine.progress import Bar


@pytest.fixture
def terminal(monkeypatch):
    """Stderr taken for a terminal, and a clock that moves by two seconds with every look."""
    moments = iter(range(0, 100, 2))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(moments))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")


def test_a_bar_shows_how_many_and_how_fast(terminal, capsys):
    with Bar("packing", 20) as bar:
        bar.reach(4)
        bar.reach(14)  # 10 more in 2 seconds
        bar._bar.refresh()
    err = capsys.readouterr().err
    assert "packing" in err and "14/20" in err and "5 images/s" in err


def test_without_a_bar_lines_of_text_are_written_alone(capsys):
    with Bar("packing", 20, shown=False) as bar:
        bar.reach(4)
        bar.say("a [line]")
    assert capsys.readouterr().err == "a [line]\n"
