"""The order of imports: a module imports from its own line of README's tree and from lines above it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import recombine

PACKAGE = Path(recombine.__file__).parent
README = PACKAGE.parent / "README.md"
COMMAND_LINE = ("commands", "cli", "__main__")  # on README's last line, in this order


def rooms() -> list[str]:
    """Files and folders of the package in reading order."""
    tree = README.read_text(encoding="utf-8").split("\nrecombine/\n")[1].split("\ntests/")[0]
    *above, last = re.findall(r"^  (\w+)(?:\.py|/) ", tree, re.MULTILINE)
    assert last == COMMAND_LINE[0]
    return [*above, *COMMAND_LINE]


def imported(source: str) -> Iterator[str]:
    """Dotted names that a module imports, inside functions too, but not for type checkers alone."""
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def arrows() -> Iterator[tuple[str, str, str]]:
    """Every import within the package: file, its room, the other room; the public face (`recombine` itself) has none."""
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE)
        if file.name != "__init__.py" or len(file.parts) > 1:
            for name in imported(path.read_text(encoding="utf-8")):
                root, _, rest = name.partition(".")
                if root == "recombine" and rest not in ("", "__version__"):
                    yield file.as_posix(), file.parts[0].removesuffix(".py"), rest.split(".")[0]


def test_the_tree_names_every_room():
    assert {room for _, room, _ in arrows()} <= set(rooms())
    assert all((PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file() for room in rooms())


def test_no_import_runs_up():
    order = rooms()
    assert not [f"{file} imports {other}" for file, room, other in arrows() if order.index(other) > order.index(room)]


def test_the_search_finds_imports():
    source = "if TYPE_CHECKING:\n    import a\nelse:\n    import b\ndef f():\n    from recombine.c import d\n"
    assert set(imported(source)) == {"b", "recombine.c.d"}
