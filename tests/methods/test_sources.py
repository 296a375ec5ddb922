"""Every loss in a method's file names where it comes from, on its own line."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import recombine.methods
from recombine.methods import METHODS

FOLDER = Path(recombine.methods.__file__).parent
SOURCE = re.compile(r"#.*(Eqs?\. ?\d|Sec\. |Sections? |Alg\. |Algorithm |Table |Fig\. |[Aa]ppendix|released code|\bours\b)")


def losses(tree: ast.AST) -> Iterator[ast.expr]:
    """The (weight, value) pairs that functions put into dictionaries of losses."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Dict):
                values = node.values
            elif isinstance(node, ast.DictComp):
                values = [node.value]
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
                values = [node.value]
            else:
                continue
            yield from (v for v in values if isinstance(v, ast.Tuple) and len(v.elts) == 2 and not isinstance(v.elts[1], ast.Constant | ast.Starred))


def unsourced(text: str) -> list[str]:
    """Lines of the losses that name no source."""
    lines = text.split("\n")
    spans = [lines[loss.lineno - 1 : (loss.end_lineno or loss.lineno)] for loss in losses(ast.parse(text))]
    return [span[0].strip() for span in spans if not any(map(SOURCE.search, span))]


@pytest.mark.parametrize("name", METHODS)
def test_every_loss_names_its_source(name):
    text = (FOLDER / f"{name}.py").read_text()
    assert len(list(losses(ast.parse(text)))) >= 2
    assert unsourced(text) == []


def test_a_loss_without_a_source_is_found():
    text = 'def turns(self):\n    losses = {\n        "rec": (1.0, rec),  # Eq. 1, L_rec\n        "kl": (beta, kl),  # the divergence\n    }\n'
    assert sorted(unsourced(text + '    losses["adv"] = (0.1, adv)\n')) == ['"kl": (beta, kl),  # the divergence', 'losses["adv"] = (0.1, adv)']
