"""The report in Chromium: no width on which it scrolls sideways, nothing fetched, prints whole.

Needs Chromium; without it these tests are skipped, and say so.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import study_folders
from playwright.sync_api import Browser, sync_playwright
from ways import CHROMIUM, FLAGS

import experiments
from study import report
from study.report import index, pairs
from utils import evaluation

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: install it")


@pytest.fixture(scope="module")
def page(mktemp: Callable[[str], Path], demo_set: Path) -> Path:
    """The report of two classifiers and a segmenter."""
    folder = mktemp("report")
    runs = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "RESAMPLES", 200)
        patch.setattr(evaluation.trust, "assess", partial(evaluation.trust.assess, resamples=50))
        # As if the images were real ones: beside synthetic data the published tables are left out.
        patch.setattr(study_folders, "NOTE", "ISIC 2017")
        patch.setattr(index.data, "note", lambda _: study_folders.NOTE)
        for name, make in (
            ("1-3", study_folders.classifier),
            ("4-1", study_folders.classifier),
            ("seg-1", study_folders.segmenter),
        ):
            runs[f"{name}-s0"] = make(folder / f"{name}-s0", experiments.get(name, "best"))
        return report.write(runs, demo_set, "test")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_tables_scroll_in_their_own_box_and_the_page_does_not(
    browser: Browser, page: Path, width: int, tmp_path: Path
) -> None:
    opened = browser.new_page(viewport={"width": width, "height": 900})
    fetched = []
    opened.on("request", lambda request: fetched.append(request.url))
    opened.goto(page.as_uri())
    opened.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    opened.screenshot(path=tmp_path / f"page-{width}.png", full_page=True)
    assert opened.evaluate("document.documentElement.scrollWidth") == width
    assert [url for url in fetched if not url.startswith("data:")] == [page.as_uri()]
    broken = "[...document.images].filter(one => !one.complete || one.naturalWidth === 0).length"
    assert opened.evaluate("document.images.length") > 9
    assert opened.evaluate(broken) == 0
    opened.close()


def test_printing_opens_what_is_folded(browser: Browser, page: Path) -> None:
    opened = browser.new_page()
    opened.goto(page.as_uri())
    opened.emulate_media(media="print")
    folded = opened.get_by_text("M SE", exact=True).first
    assert folded.bounding_box()["height"] > 0
    printed = opened.pdf(prefer_css_page_size=True)
    # Every section begins a page.
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) >= 10
    opened.close()
