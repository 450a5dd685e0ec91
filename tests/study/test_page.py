"""The page of an executed notebook: it fetches nothing, draws its formulas, says its figures.

What is looked at in Chromium is skipped where there is none, and says so.
"""

import base64
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_markdown_cell, new_notebook, new_output
from playwright.sync_api import sync_playwright
from ways import CHROMIUM, FLAGS, NOTEBOOKS

from study.page import mathml, page_of

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
HEIGHTS = "[...document.querySelectorAll('math')].map(e => e.getBoundingClientRect().height)"
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$", re.DOTALL)


def lesson(notebook: Path) -> nbformat.NotebookNode:
    """A committed notebook as if it had been run: a figure below its last cell, widgets beside."""
    node = nbformat.read(notebook, as_version=4)
    figure = {"image/png": base64.b64encode(PIXEL).decode()}
    said = {"image/png": {"width": 300, "alt": 'Loss < 1, the "best"'}}
    code = [cell for cell in node.cells if cell.cell_type == "code"]
    code[-1].outputs = [new_output("display_data", data=figure, metadata=said)]
    node.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    return node


@pytest.fixture(scope="module")
def pages() -> dict[Path, str]:
    """The page of each notebook."""
    return {notebook: page_of(lesson(notebook)) for notebook in NOTEBOOKS}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda file: file.name)
def test_a_page_has_no_script_and_no_raw_formula(notebook: Path, pages: dict[Path, str]) -> None:
    page = pages[notebook]
    assert not re.findall(r"<script|<link|@import|cdnjs|unpkg|mathjax", page, re.IGNORECASE)
    text = re.sub(r"<style.*?</style>|<div class=\"highlight.*?</pre>", "", page, flags=re.DOTALL)
    assert "$" not in re.sub(r"<code>.*?</code>|base64,[^\"]*", "", text, flags=re.DOTALL)
    source = "".join(c.source for c in lesson(notebook).cells if c.cell_type == "markdown")
    assert page.count("<math ") == len(FORMULA.findall(source))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda file: file.name)
def test_every_formula_is_well_formed_and_holds_no_command(notebook: Path) -> None:
    source = "".join(c.source for c in lesson(notebook).cells if c.cell_type == "markdown")
    for block, inline in FORMULA.findall(source):
        drawn = ET.fromstring(mathml(block or inline, "block" if block else "inline"))
        assert drawn.tag == "{http://www.w3.org/1998/Math/MathML}math"
        assert "\\" not in "".join(drawn.itertext())


@pytest.mark.parametrize(
    ("formula", "drawn"),
    [
        (r"\mathrm{net\ benefit}(t)", r"<mi>net&#x000A0;benefit</mi>"),
        (r"\log p", '<mi>log</mi><mspace width="0.167em" /><mi>p</mi>'),
        (r"\log(p)", '<mi>log</mi><mo stretchy="false">&#x00028;</mo>'),
        (r"\lvert x \rvert", '<mo stretchy="false" lspace="0" rspace="0">&#x0007C;</mo><mi>x</mi>'),
        (r"\bigl(x\bigr)", '<mo stretchy="false">(</mo><mi>x</mi><mo stretchy="false">)</mo>'),
        (r"O_{i'}", '<mi>i</mi><mo lspace="0" rspace="0">&#x02032;</mo>'),
        (r"y = -x", '<mo form="prefix">&#x02212;</mo><mi>x</mi>'),
        (r"x \odot y", "<mi>x</mi><mo>&#x02299;</mo><mi>y</mi>"),
    ],
)
def test_a_formula_is_drawn_as_a_book_would(formula: str, drawn: str) -> None:
    assert drawn in mathml(formula)


@pytest.mark.parametrize("formula", [r"\left( x", "}{", r"x < y^"])
def test_a_formula_that_cannot_be_drawn_stays_as_it_is(formula: str) -> None:
    cells = [new_markdown_cell(f"before ${formula}$ after")]
    page = page_of(new_notebook(cells=cells))
    assert f"before ${formula.replace('<', '&lt;')}$ after" in page


def test_a_figure_is_said_in_words(pages: dict[Path, str]) -> None:
    (image,) = BeautifulSoup(pages[NOTEBOOKS[0]], "html.parser").select("img")
    assert image["alt"] == 'Loss < 1, the "best"'


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: install it")
def test_a_page_makes_no_request_and_draws_its_formulas(
    pages: dict[Path, str], tmp_path: Path
) -> None:
    fetched, wrong = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        opened = browser.new_page(viewport={"width": 1280, "height": 900})
        opened.on("request", lambda request: fetched.append(request.url))
        opened.on("console", lambda message: wrong.append(message.text))
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        for notebook, page in pages.items():
            file = tmp_path / f"{notebook.stem}.html"
            file.write_text(page, encoding="utf-8")
            opened.goto(file.as_uri())
            assert min(opened.evaluate(HEIGHTS), default=9) > 5
        browser.close()
    assert [url for url in fetched if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in fetched if url.startswith("file:")]) == len(NOTEBOOKS)
    assert wrong == []
