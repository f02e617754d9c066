"""The plan of the house: short modules, no circles among them, tests in the rooms of what they test."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import napari_niiv

PACKAGE = Path(napari_niiv.__file__).parent
TESTS = Path(__file__).parent
PROJECT = TESTS.parent
MODULE_LINES = 400
FUNCTION_LINES = 60  # the docstring apart


def module_name(path: Path) -> str:
    """The dotted name of a module of the package."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_when_run(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The import statements below a node, those in functions too, those for type checkers alone not."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        else:
            yield from imports_when_run(child)


def imported_modules(path: Path) -> set[str]:
    """The package's modules that a module imports."""
    names: set[str] = set()
    for statement in imports_when_run(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import):
            names.update(alias.name for alias in statement.names)
            continue
        assert statement.level == 0, f"{path.name}: imports are absolute"
        module = statement.module or ""
        for alias in statement.names:
            submodule = f"{module}.{alias.name}"
            names.add(submodule if submodule in MODULES else module)
    return names & MODULES.keys()


def test_modules_are_short() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert len(lengths) > 100
    assert {name: lines for name, lines in lengths.items() if lines > MODULE_LINES} == {}


def test_functions_are_short() -> None:
    long = []
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
                if lines > FUNCTION_LINES:
                    long.append(f"{name}.{node.name}: {lines} lines")
    assert long == []


def test_no_circle_of_imports() -> None:
    graph = {name: imported_modules(path) for name, path in MODULES.items()}
    assert sum(map(len, graph.values())) > 500
    circle: list[str] = []
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = error.args[1]
    assert circle == []


def test_tests_stand_in_the_rooms_of_what_they_test() -> None:
    folders = {path.parent.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    assert len(folders) > 10
    assert [str(folder) for folder in folders if not (PACKAGE / folder).is_dir()] == []


def test_the_lowest_versions_are_what_the_project_declares() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    declared = [*project["project"]["dependencies"], *groups["test-core"], *groups["test"]]
    for extra in project["project"]["optional-dependencies"].values():
        declared += extra
    lowest = {
        (canonicalize_name(requirement.name), Version(bound.version))
        for requirement in (Requirement(line) for line in declared if isinstance(line, str))
        for bound in requirement.specifier
        if bound.operator == ">=" and requirement.name != "torch"
    }
    lines = (PROJECT / "requirements" / "minimum-constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if "==" in line]
    assert {(canonicalize_name(name), Version(version)) for name, version in pins} == lowest
