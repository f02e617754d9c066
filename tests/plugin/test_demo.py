"""The demo as a program of its own."""

import subprocess
import sys

import pytest
from skimage.io import imread

pytest.importorskip("napari")

from napari_niiv.cli import main

# the same safety as tests/conftest.py, for a process of its own
RUN = """
import sys
from vispy.gloo.glir import GlirProgram
GlirProgram.delete = lambda self: None
from napari_niiv.cli import main
sys.exit(main(sys.argv[1:]))
"""


def demo(*arguments):
    return subprocess.run([sys.executable, "-c", RUN, "demo", *arguments], capture_output=True, text=True, timeout=150)


def test_it_saves_the_refined_window_and_exits(tmp_path):
    path = tmp_path / "demo.png"
    done = demo("--screenshot", str(path))
    assert done.returncode == 0, done.stderr
    picture = imread(path)
    assert picture.shape[0] > 600
    canvas = picture[picture.shape[0] // 2 - 50 : picture.shape[0] // 2 + 50, 400:900, :3]
    assert canvas.std() > 10  # an image, not an empty canvas


@pytest.mark.parametrize("name", ["nowhere/demo.png", "demo.txt"])
def test_a_screenshot_that_cannot_be_written_is_one_sentence(tmp_path, capsys, name):
    assert main(["demo", "--screenshot", str(tmp_path / name)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("napari-niiv: ")
    assert len(told.strip().splitlines()) == 1
