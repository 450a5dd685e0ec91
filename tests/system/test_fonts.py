"""Figures show ids in any script, and say once where no font has them."""

import warnings

import numpy as np
import pytest

from utils import visualize
from utils.logger.run import RunFolder
from utils.system import fonts

HERE = fonts.families()[1:]


@pytest.fixture
def strange(monkeypatch: pytest.MonkeyPatch) -> str:
    """A character that no font has."""
    monkeypatch.setattr(fonts, "_noted", [])
    return "\U0010fffd"


def grid(caption: str) -> visualize.figures.Figure:
    image = np.full((8, 8, 3), 200, np.uint8)
    return visualize.image_grid([image], [caption], "title", "note")


def test_a_character_that_no_font_has_is_noted_once(strange, tmp_path, capsys) -> None:
    for number in range(2):
        RunFolder(tmp_path).save_figure(str(number), grid(f"id {strange}"))
    said = capsys.readouterr().out
    assert said.count("No installed font has the character") == 1
    assert repr(strange) in said


def test_other_warnings_are_still_given() -> None:
    with pytest.raises(RuntimeWarning, match="mine"):
        warn_while_drawing()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.warns(RuntimeWarning, match="mine"):
            warn_while_drawing()


def warn_while_drawing() -> None:
    with fonts.drawing():
        warnings.warn("mine", RuntimeWarning, stacklevel=1)


@pytest.mark.skipif(not HERE, reason=f"none of the fonts {', '.join(fonts.WIDE)} is here")
def test_chinese_ids_are_drawn(tmp_path, capsys) -> None:
    RunFolder(tmp_path).save_figure("chinese", grid("皮肤镜_0001"))
    assert "No installed font" not in capsys.readouterr().out
