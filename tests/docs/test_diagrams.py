"""The diagrams that are committed are those that the code makes, and every pipeline that can be drawn is."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from commands import PIPELINES
from deploy.docs.drawing import BOXES, WIDTH, Box, draw
from tests.conftest import ROOT, Home

FOLDER = ROOT / "docs" / "images" / "diagrams"
# Forgetting and the simulation are no pipelines of ZenML; a promotion is composed of what has arrived.
NOT_DRAWN = {"forgetting", "simulation", "promotion"}


@pytest.fixture(scope="module")
def made(trained: tuple[Home, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the program makes now, by the files' names."""
    folder = tmp_path_factory.mktemp("diagrams")
    process = trained[0].python("-m", "deploy.docs.diagrams", str(folder))
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_what_is_committed_is_what_the_code_makes(made: dict[str, str]) -> None:
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == made, (
        "python -m deploy.docs.diagrams"
    )


def test_every_pipeline_is_drawn_and_every_diagram_shown() -> None:
    assert set(PIPELINES) - NOT_DRAWN <= {path.stem for path in FOLDER.iterdir()}
    shown = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    assert [path.name for path in FOLDER.iterdir() if f"diagrams/{path.name}" not in shown] == []


def test_nothing_is_drawn_outside_the_picture(made: dict[str, str]) -> None:
    for name, text in made.items():
        root = ET.fromstring(text)
        height = float(root.attrib["height"])
        for found in root.iter("{http://www.w3.org/2000/svg}text"):
            # A letter of the sentences is 7 pixels wide at the most, on average.
            assert float(found.attrib["x"]) + 6.6 * len(found.text or "") < WIDTH, (name, found.text)
            assert 0 < float(found.attrib["y"]) < height
        for found in root.iter("{http://www.w3.org/2000/svg}rect"):
            assert found.attrib["class"] == "page" or (
                0
                <= float(found.attrib["x"])
                <= float(found.attrib["x"]) + float(found.attrib["width"])
                <= BOXES
            ), name


def test_what_is_said_is_text_and_not_markup() -> None:
    drawn = draw({"a < b": [[Box(("one", "two"), "1 < 2 & 3")], [Box(("three",), "4", ("one",))]]})
    texts = [found.text for found in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["a < b", "one", "two", "1 < 2 & 3", "three", "4"]
    assert drawn.count('class="arrow"') == 1
