"""Numbers and sentences for people."""

import math

import pytest

pytest.importorskip("napari")

from napari_niiv.plugin.common.words import bytes_of, for_buttons, large, output_words, time_left


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (math.inf, ""), (0, "0:00 left"), (83.4, "1:23 left"), (3723, "1:02:03 left")],
)
def test_time(seconds, words):
    assert time_left(seconds) == words


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
        "3 × 10 × 20 × 30 voxels (c × z × y × x) of 0.008 × 0.008 × 0.0081 µm"
    )
    assert output_words((10, 20, 30), "zyx", (1, 1, 1), "pixel").endswith("of 1 × 1 × 1 voxel units")


def test_every_option_that_an_export_names_has_a_button():
    """The core's sentences name options of the command line."""
    from pathlib import Path

    import napari_niiv

    package = Path(napari_niiv.__file__).parent
    texts = [path.read_text() for path in [*(package / "export").glob("*.py"), package / "io" / "write.py"]]
    sentences = [line for text in texts for line in text.splitlines() if "--" in line and '"' in line]
    assert len(sentences) > 8
    for line in sentences:
        if "dask scheduler" not in line and "died at" not in line:  # of workers, which the viewer has none of
            assert "--" not in for_buttons(line), line
