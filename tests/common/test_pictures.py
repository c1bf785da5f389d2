"""Pictures whose labels the usual font lacks."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager, get_data_path
from matplotlib.figure import Figure
from matplotlib.image import imread

from ser.common import pictures
from ser.common.pictures import save_picture


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine with the fonts of matplotlib only, and a process that has drawn nothing yet."""
    bundled = [entry for entry in font_manager.fontManager.ttflist if entry.fname.startswith(get_data_path())]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", bundled)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    monkeypatch.setattr(pictures, "_warned", set())
    font_manager.fontManager._findfont_cached.cache_clear()
    yield
    font_manager.fontManager._findfont_cached.cache_clear()


def figure_of(*labels):
    figure = Figure(figsize=(4, 3), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xticks(range(len(labels)), labels)
    axes.set(title=labels[0], xlim=(-1, len(labels)))
    axes.bar(range(len(labels)), 1, label=labels[-1])
    axes.legend()
    return figure


def made_font(path: Path, name: str, characters: str) -> None:
    """A font whose every glyph is a triangle."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    pen.lineTo((300, 600))
    pen.lineTo((600, 0))
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "triangle"])
    builder.setupCharacterMap({ord(c): "triangle" for c in characters})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "triangle": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (600, 0), "triangle": (600, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": name, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)


def messages(figure, path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        save_picture(figure, path)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    ("label", "package"),
    [("高兴", "fonts-noto-cjk"), ("기쁨", "fonts-noto-cjk"), ("खुश", "fonts-noto-core"), ("🥰", "fonts-symbola")],
)
def test_characters_that_no_font_has_are_one_message_with_the_package(tmp_path, label, package):
    (message,) = messages(figure_of(label, "sad"), tmp_path / "a.png")
    assert f"apt-get install {package}" in message
    assert str(tmp_path / "a.png") in message
    assert any(c in message for c in label)
    assert messages(figure_of(label, "sad"), tmp_path / "b.png") == []
    assert (tmp_path / "b.png").is_file()


def test_several_scripts_are_one_message(tmp_path):
    (message,) = messages(figure_of("高兴", "खुश", "🥰"), tmp_path / "a.png")
    assert all(name in message for name in ("fonts-noto-cjk", "fonts-noto-core", "fonts-symbola"))


@pytest.mark.parametrize("label", ["zornig", "Überraschung", "радость", "χαρά", "فرح", "a\u200db\ufe0f"])
def test_characters_of_the_usual_font_are_no_message(tmp_path, label):
    assert messages(figure_of(label, "sad"), tmp_path / "a.png") == []


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_other_fonts_of_the_machine_draw_what_the_usual_one_lacks(tmp_path, monkeypatch, ending):
    made_font(tmp_path / "han.ttf", "Some Han", "高兴")
    made_font(tmp_path / "hindi.ttf", "Some Hindi", "खुश")
    (tmp_path / "bad.ttf").write_bytes(b"no font")
    fonts = [str(tmp_path / name) for name in ("han.ttf", "hindi.ttf", "bad.ttf")]
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: fonts)
    assert messages(figure_of("高兴 happy", "खुश", "悲"), tmp_path / f"a.{ending}")[0].count("悲") == 1
    figure = figure_of("高兴 happy", "खुश", "sad")
    assert messages(figure, tmp_path / f"b.{ending}") == []
    assert {"Some Han", "Some Hindi"} <= set(figure.axes[0].title.get_fontfamily())


def test_a_dollar_sign_is_no_formula(tmp_path):
    assert messages(figure_of("$5_{$", r"$\frac$", "a$b$"), tmp_path / "a.png") == []
    assert np.ptp(imread(tmp_path / "a.png")) > 0
