"""Numbers and sentences for people."""

import ast
import math
import re
from pathlib import Path

import pytest

pytest.importorskip("napari")

import napari_niiv
from napari_niiv.errors import PYTHON_WORDS, NiivError, Remedy
from napari_niiv.plugin.common.words import WINDOW_WORDS, about, bytes_of, large, length_words, output_words, time_left


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (math.inf, ""), (0, "0:00 left"), (83.4, "1:23 left"), (3723, "1:02:03 left")],
)
def test_time(seconds, words):
    assert time_left(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.01, "about 1 s"),
        (7.6, "about 8 s"),
        (11, "about 10 s"),
        (57, "about 55 s"),
        (58, "about 1 min"),
        (110, "about 2 min"),
        (569, "about 9 min"),
        (571, "about 10 min"),
        (3440, "about 55 min"),
        (3500, "about 1 h"),
        (3 * 3600 + 1900, "about 3.5 h"),
        (30 * 3600, "about 30 h"),
        (5.2 * 86400, "about 5 days"),
    ],
)
def test_times_that_are_known_roughly(seconds, words):
    assert about(seconds) == words


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.00304, "µm", "3.04 nm"),
        (20.1, "µm", "20.1 µm"),
        (1.5e-3, "m", "1.5 mm"),
        (5000, "nm", "5 µm"),
        (0.25, "in", "0.25 in"),
        (3, "voxel units", "3 voxel units"),
        (0, "nm", "0 nm"),
    ],
)
def test_lengths(value, unit, words):
    assert length_words(value, unit) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(86_580, "86.6 kB"), (999_600, "1 MB"), (8.4e6, "8.4 MB"), (2e12, "2 TB"), (5e18, "5e+03 PB")],
)
def test_bytes(count, words):
    assert bytes_of(count) == words


def test_counts_and_shapes():
    assert (large(999), large(123_456), large(2.14e6), large(3e9)) == (
        "999",
        "123,456",
        "2.14 million",
        "3 billion",
    )
    assert output_words((3, 10, 20, 30), "czyx", (0.008, 0.008, 0.0081), "micrometer") == (
        "3 × 10 × 20 × 30 voxels (c × z × y × x) of 8 × 8 × 8.1 nm"
    )
    assert output_words((10, 20, 30), "zyx", (1, 1, 1), "pixel").endswith("of 1 × 1 × 1 voxel units")


def test_every_remedy_has_words_of_the_windows():
    assert set(WINDOW_WORDS) == set(Remedy)
    for remedy, words in WINDOW_WORDS.items():
        assert words
        assert not names_an_option(words)
        assert "=" not in words
        assert words != PYTHON_WORDS[remedy]
    assert NiivError("The disk is full; free space and", Remedy.RESUME).in_words(WINDOW_WORDS) == (
        "The disk is full; free space and go on with Resume."
    )


def names_an_option(text):
    return re.search(r"--[a-z]", text) is not None


def sentences(path):
    """The texts of a module, docstrings left out."""
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, documented)]
    docstrings = {id(body[0].value) for body in bodies if body and isinstance(body[0], ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def test_no_sentence_of_the_core_names_an_option():
    """Each face words what the user can do; the core gives it as a `Remedy`."""
    package = Path(napari_niiv.__file__).parent
    parts = {path: path.relative_to(package).parts[0] for path in package.rglob("*.py")}
    core = [path for path, part in parts.items() if part not in ("cli", "plugin")]
    texts = [(path.name, text) for path in core for text in sentences(path)]
    assert len(texts) > 1000
    assert not [(name, text) for name, text in texts if names_an_option(text)]
    assert any(names_an_option(text) for text in sentences(package / "cli" / "words.py"))
