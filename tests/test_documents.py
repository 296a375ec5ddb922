"""What is shown is run: README's blocks, the recipes, the public names, and the files that say how to set up."""

import ast
import importlib
import json
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from norb_files import part
from PIL import Image

import recombine as rc
from recombine.cli import APP, main
from recombine.data.schema import Attribute, Schema
from recombine.data.sources.patterns import PATTERNS, Pattern
from recombine.evaluation.classifier import Settings
from recombine.evaluation.measures import MEASURES
from recombine.methods import METHODS
from recombine.papers import TABLES
from recombine.recipes import RECIPES
from recombine.training.recipe import Recipe
from recombine.training.runs import build

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
COMMANDS = [line.split("  #")[0] for kind, text in BLOCKS if not kind for line in text.splitlines() if line.startswith("recombine ")]


KINDS = {name: Attribute(name, "group", ("a", "b")) for name in ("identity", "clip", "character", "person")} | {
    name: Attribute(name, "continuous", low=-30.0, high=30.0) for name in ("yaw", "pitch", "roll", "valence", "arousal")
}


@pytest.fixture
def studio(tmp_path, monkeypatch, untrained, make_untrained):
    """A folder as README's reader has it: a run, and images of Anna, Ben, me and you."""
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    for run in ("avatars", "photos"):
        Path("runs", run).symlink_to(untrained)
    small = {"widths": (4, 6, 8), "decoder_widths": (8, 6, 4), "blocks": 1, "decoder_blocks": 1, "mi_width": 8, "mi_blocks": 1}
    make_untrained(Path("runs/rodi"), Schema((KINDS["identity"],), 16, 16), "rodi", small)
    for seed, name in enumerate(("anna.png", "ben.png", "me.jpg", "you.jpg")):
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(name)
    return tmp_path


def test_readme_python_runs_and_its_images_are_there(studio):
    (code,) = [text for kind, text in BLOCKS if kind == "python"]
    exec(compile(code, "README.md", "exec"), {})
    for name in re.findall(r'"(\w+\.png)"\)', code):
        with Image.open(name) as image:
            assert image.size == (16, 16)


@pytest.mark.parametrize("line", [line for line in COMMANDS if "edit" in line])
def test_readme_edits_run(line, studio):
    assert main(shlex.split(line)[1:]) == 0


@pytest.mark.parametrize("line", COMMANDS)
def test_readme_commands_are_understood(line):
    _, _, unused = APP.parse_known_args(shlex.split(line)[1:])[:3]
    assert unused == []


def test_readme_shows_code_early_and_names_files_that_exist():
    assert README[: README.index("```")].count("\n") < 25
    tree = next(text for _, text in BLOCKS if text.startswith("recombine/\n"))
    for name in re.findall(r"^  (\S+)", tree, re.MULTILINE):
        assert (ROOT / "recombine" / name).exists(), name
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target


PAGES = {page: (ROOT / "docs" / page).read_text() for page in ("compare.md", "tables.md")}
SHOWN = [line for text in PAGES.values() for line in text.splitlines() if line.startswith("recombine ")]


@pytest.mark.parametrize("line", SHOWN)
def test_commands_of_the_pages_on_comparisons_and_tables_are_understood(line):
    _, _, unused = APP.parse_known_args(shlex.split(line)[1:])[:3]
    assert unused == []


MANY = (ROOT / "docs" / "many.md").read_text()


@pytest.mark.parametrize("line", re.findall(r"^.*(?<!/)\brecombine (?:train|data) packs?.*$|^recombine .*$", MANY, re.MULTILINE))
def test_commands_of_the_page_on_many_processes_are_understood(line):
    _, _, unused = APP.parse_known_args(shlex.split(line, comments=True)[shlex.split(line).index("recombine") + 1 :])[:3]
    assert unused == []


def test_the_script_for_slurm_is_one_that_bash_reads():
    assert subprocess.run(["bash", "-n", str(ROOT / "docs" / "slurm.sh")]).returncode == 0
    assert all((ROOT / "docs" / target).exists() for target in re.findall(r"\]\((?!http)([^)]+)\)", MANY))


def test_the_page_on_comparisons_shows_python_that_runs(signs, tmp_path, monkeypatch):
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGES["compare.md"], re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    Path("packs").mkdir()
    Path("packs/frames").symlink_to(signs.path)
    small = code.replace("ifcvaegan", "ifcvaegan:width=4").replace("20_000", "32").replace('"Smiling"', '"lamp"').replace('budget=', 'seeds=1, classifier=TINY, budget=')
    assert small.count("ifcvaegan:width=4") == 1 and "=32" in small and "lamp" in small and "TINY" in small
    exec(compile(small, "compare.md", "exec"), {"TINY": Settings(width=4, height=16, images=64, evaluations=1)})
    assert (tmp_path / "comparisons/mine/report.html").exists()


def test_the_page_on_measures_is_what_the_catalogue_gives():
    writer = runpy.run_path(str(ROOT / "docs/measures.py"))
    assert set(writer["LIMITS"]) == set(MEASURES)
    assert (ROOT / "docs/measures.md").read_text() == writer["page"](), "run python docs/measures.py"


def test_the_page_on_tables_names_all_of_them():
    named = re.findall(r"`(\w+)\.(\w+)`|`\.(\w+)`", PAGES["tables.md"].split("There are 17:")[1].split("None of")[0])
    papers, found = "", set()
    for paper, first, more in named:
        papers = paper or papers
        found.add(f"{papers}.{first or more}")
    assert found == set(TABLES)


DATA = (ROOT / "docs/data.md").read_text()
DATA_BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", DATA, re.DOTALL | re.MULTILINE)
DATA_COMMANDS = [line for kind, text in DATA_BLOCKS if not kind for line in text.splitlines()]


@pytest.fixture
def data_sets(tmp_path, monkeypatch):
    """Folders as the reader of docs/data.md has them."""
    names = [f"frames/{who}/{clip}/{i}.jpg" for who in "abcd" for clip in "xy" for i in range(3)]
    names += [f"RaFD/Rafd{c}_{who}_Caucasian_male_{e}_{gaze}.jpg" for c in ("045", "135") for who in range(4) for e in ("sad", "happy") for gaze in ("left", "right")]
    names += [f"scans/{sex}{who}_{age}y.png" for who, sex in enumerate("FMFMFM") for age in range(20, 26)]
    for seed, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / name)
    part(tmp_path / "norb", "training", (4,), 1)
    part(tmp_path / "norb", "testing", (0,), 2)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_data_page_commands_and_python_run(data_sets):
    tiny = "--images 8 --batch-size 8 --judge none --preset small --set width=8 --set critic_width=8 --size 16".split()
    for line in DATA_COMMANDS:
        command = shlex.split(line)[1:]
        assert main([*command, *(tiny if command[0] == "train" else ())]) == 0, line
    assert main(shlex.split("data frames --pattern '{identity}/{clip}/*.jpg' --pack packs/frames")) == 0
    (code,) = [text for kind, text in DATA_BLOCKS if kind == "python"]
    exec(compile(code, "data.md", "exec"), {})


def test_data_page_lists_every_named_pattern_with_its_columns():
    rows = re.findall(r"^\| `(\w+)` \| `(\S+)` \| ([\w, ]+) \|", DATA, re.MULTILINE)
    assert [name for name, _, _ in rows] == list(PATTERNS)
    for name, file, columns in rows:
        naming = PATTERNS[name]
        used = next(p for p in map(Pattern, naming.patterns) if p.match(file) is not None)
        assert columns.split(", ") == list(dict.fromkeys([*used.fields, *naming.columns]))


def test_readme_lists_every_method():
    assert set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)) == set(METHODS)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_builds_and_says_its_command(name):
    function = RECIPES[name]
    recipe = function()
    assert isinstance(recipe, Recipe) and name == function.__name__.replace("_", ".", 1)
    assert "`recombine " in function.__doc__ and "LOG.md" not in function.__doc__, "the result itself stands there"
    kinds = METHODS[recipe.method][0].kinds
    known = {name: attribute for name, attribute in KINDS.items() if attribute.kind in kinds}
    attributes = tuple(known.get(a) or Attribute(a, "categorical", ("0", "1")) for a in recipe.attributes or ("glasses",))
    with torch.device("meta"):              # the papers' networks are large
        model = build(recipe.method, vars(recipe.config), Schema(attributes, recipe.size, recipe.size))
    assert model.image_size == (recipe.size, recipe.size)


def test_public_names_are_there_and_cost_nothing_until_they_are_used():
    assert all(getattr(rc, name) is not None for name in rc.__all__)
    lines = (ROOT / "recombine/__init__.py").read_text().split("if TYPE_CHECKING:\n    from")[1].split("\n\n")[0]
    typed = {name: home for home, names in re.findall(r"(\S+) import (.+)", lines) for name in names.split(", ")}
    assert sorted({*typed, "__version__"}) == sorted(rc.__all__) == sorted(dir(rc))
    assert all(getattr(rc, name) is getattr(importlib.import_module(home), name) for name, home in typed.items())
    with pytest.raises(AttributeError, match="recombine has no 'swop'; it has Codes"):
        rc.swop  # noqa: B018
    code = "import sys, recombine; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == rc.__version__
    assert f"version: {rc.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_package_states_lower_bounds_only_and_constraints_no_local_versions():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    stated = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    assert all(re.fullmatch(r"[\w-]+>=[\d.]+", line) for line in stated)
    known = (ROOT / "constraints.txt").read_text()
    names = {line.split("=")[0].split("<")[0].lower().replace("_", "-") for line in known.splitlines()[1:]}
    assert {re.split(">=", line)[0] for line in stated} <= names
    assert "torch<2.14\n" in known and "+" not in known and "://" not in known


MODULES = {  # distribution -> what is imported, where the names differ
    "lightning-fabric": "lightning_fabric",
    "lightning-utilities": "lightning_utilities",
    "pillow": "PIL",
    "scikit-learn": "sklearn",
    "scikit-image": "skimage",
    "python-avatars": "python_avatars",
    "resvg-py": "resvg_py",
    "fontpkg-oxygen": "fontpkg_oxygen",
    "fontpkg-arvo": "fontpkg_arvo",
    "fontpkg-crimson-text": "fontpkg_crimson_text",
    "fontpkg-lobster-two": "fontpkg_lobster_two",
    "fontpkg-kalam": "fontpkg_kalam",
}
TOOLS = {"ruff", "pyright", "codespell", "tensorboard", "pytest-xdist"}  # run, or imported through another package


def imported(folder):
    """Top-level names that the Python files below a folder import."""
    nodes = [node for path in (ROOT / folder).rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.split(".")[0] for name in plain | named} - set(sys.stdlib_module_names) - {"recombine"}


def declared(lines):
    """What the distributions in a list of dependencies are imported as."""
    names = {re.split(">=", line)[0] for line in lines}
    return {MODULES.get(name, name) for name in names - TOOLS}


def test_every_import_is_declared_and_every_dependency_is_used():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert imported("recombine") == declared([*project["dependencies"], *extras["fast"]])
    helpers = {path.stem for path in (ROOT / "tests").rglob("*.py")}
    assert imported("tests") - helpers <= declared([*project["dependencies"], *extras["fast"], *extras["dev"]])
    assert declared(extras["dev"]) <= imported("tests")


def test_results_name_no_place_of_a_machine():
    for path in sorted((ROOT / "results").glob("*.json")):
        command = json.loads(path.read_text())["command"]
        assert not re.search(r"[ =]/", command), f"{path.name}: {command}"
