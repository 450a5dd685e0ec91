"""A person opens an evaluation notebook in JupyterLab, runs all cells, and moves what moves.

The notebooks are as they are committed, with runs of both tasks beside them.

Without Chromium these tests are skipped. Screenshots are in pytest's temporary folder: those of
tests that failed, or with `-o tmp_path_retention_policy=all` of all.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat
import own_sets
import pandas as pd
import pytest
import small_run
import small_seg
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from ways import CHROMIUM, FLAGS, checkout

from utils import data

TO_RUN_ALL, TO_CHANGE = 300_000, 60_000  # milliseconds
expect.set_options(timeout=TO_CHANGE)
# A traceback is drawn like what a cell writes to stderr, and neither has a place here.
ERROR = ".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']"
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # draw all cells, not only the seen
    # No question in front of the page, and nothing fetched.
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
pytestmark = [
    pytest.mark.whole,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: install it"),
]


class Notebook(NamedTuple):
    """What is opened, and what is to be seen there."""

    file: str
    pictures: int  # those that do not move
    other: str  # what else can be chosen above the slider


NOTEBOOKS = (
    Notebook("Evaluation-Cls.ipynb", 11, "seborrheic keratosis"),
    Notebook("Evaluation-Seg.ipynb", 7, "seg-4-s1"),
)


@pytest.fixture(scope="module")
def folder(demo_set: Path, mktemp: Callable[[str], Path]) -> Path:
    """A checkout with small finished runs of both tasks."""
    folder = checkout(mktemp("lab"))
    runs = folder / "model/demo-demo"
    small_run.finished(demo_set, runs / "1-3-s0")
    for seed in (0, 1):
        # Hardly trained: probabilities about a half, so that both ends of the slider are known.
        hardly = {"seed": seed, "learning_rate": 1e-6}
        small_seg.finished(demo_set, runs / f"seg-4-s{seed}", **hardly)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path, demo_set: Path, mktemp: Callable[[str], Path]) -> Iterator[str]:
    """The address of a JupyterLab that serves the folder, with settings of its own."""
    home = mktemp("home")
    for name, settings in SETTINGS.items():
        file = home / "settings/@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(settings))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "ISIC2017_DIR": str(demo_set),
        "JUPYTER_CONFIG_DIR": str(home),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
               f"--port={port}", "--port-retries=0", "--IdentityProvider.token=",
               f"--ServerApp.root_dir={folder}"]  # fmt: skip
    log = home / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _wait_for(f"http://127.0.0.1:{port}/api", process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    for _ in range(120):
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"JupyterLab did not answer: {log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as api:
        browser = api.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda notebook: notebook.file)
def notebook(request: pytest.FixtureRequest) -> Notebook:
    return request.param


@pytest.fixture(scope="module")
def page(browser: Browser, server: str, notebook: Notebook) -> Iterator[Page]:
    page = opened(browser, server, notebook.file)
    yield page
    page.close()


def opened(
    browser: Browser, server: str, file: str, end: str = "figures and tables are in"
) -> Page:
    """A notebook in JupyterLab, all cells run; end is what its last cell prints."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(TO_RUN_ALL)
    page.goto(f"{server}/lab/tree/{file}?reset")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.get_by_text(re.compile(r"Python 3 \(ipykernel\) \| Idle")).first.wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    last = page.locator(".jp-OutputArea-output", has_text=end)
    last.or_(page.locator(ERROR)).first.wait_for(state="attached")
    page.set_default_timeout(TO_CHANGE)
    return page


def test_all_cells_run_without_an_error(page: Page, notebook: Notebook, tmp_path: Path) -> None:
    page.screenshot(path=tmp_path / "lab.png")
    assert page.locator(ERROR).all_inner_texts() == []
    assert page.locator(".jp-RenderedImage img").count() == notebook.pictures


def test_the_slider_moves_the_numbers_and_the_picture(
    page: Page, notebook: Notebook, tmp_path: Path
) -> None:
    area = page.locator(".jp-OutputArea", has=page.locator(".widget-slider")).first
    numbers, picture = area.locator(".widget-html-content"), area.locator("img.widget-image")
    handle = area.locator(".noUi-handle")
    handle.scroll_into_view_if_needed()
    before = picture.get_attribute("src")
    handle.focus()
    handle.press("Home")  # the lowest threshold: everything counts as melanoma, or as lesion
    expect(numbers).to_contain_text("sensitivity 1.000   specificity 0.000")
    changed(picture, before)
    area.screenshot(path=tmp_path / "slider.png")
    before = picture.get_attribute("src")
    area.locator("select").last.select_option(notebook.other)
    changed(picture, before)
    handle.press("End")  # the highest: nothing does
    expect(numbers).to_contain_text("sensitivity 0.000   specificity 1.000")
    area.screenshot(path=tmp_path / "slider-other.png")


def test_the_browser_goes_through_the_cases(page: Page, tmp_path: Path) -> None:
    area = page.locator(".jp-OutputArea", has=page.locator("button .fa-arrow-right")).first
    where, picture = area.locator(".widget-html-content"), area.locator("img.widget-image")
    area.locator("select").last.select_option("all, by id")
    expect(where).to_contain_text("1 of 8")
    before = picture.get_attribute("src")
    area.locator("button", has=page.locator(".fa-arrow-right")).click()
    expect(where).to_contain_text("2 of 8")
    changed(picture, before)
    area.screenshot(path=tmp_path / "case.png")


def test_a_photo_of_ones_own_is_answered_below_the_button(
    page: Page, notebook: Notebook, demo_set: Path, tmp_path: Path
) -> None:
    area = page.locator(".jp-OutputArea", has=page.locator(".jupyter-widgets.jupyter-button")).last
    button = area.get_by_role("button", name="choose photos")
    button.scroll_into_view_if_needed()
    expect(area).to_contain_text("Research and teaching only")
    photo = demo_set / "ISIC-2017_Test_v2_Data/DEMO_2000001.jpg"
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photo.read_bytes()[:500])
    for files, answer, fault in (([photo], "1 photo", 0), ([photo, broken], "2 photos", 1)):
        with page.expect_file_chooser() as chooser:
            button.click()
        chooser.value.set_files(files)
        expect(area).to_contain_text(f"{answer}; the page:")
        expect(area.locator("article h2", has_text=photo.name)).to_have_count(1)
        expect(area.locator(".fault")).to_have_count(fault)
    words = "melanoma" if "Cls" in notebook.file else "px across"
    expect(area.locator("article").first).to_contain_text(words)
    assert area.locator("article img").first.evaluate("image => image.naturalWidth") > 0
    area.screenshot(path=tmp_path / "photo.png")
    assert page.locator(ERROR).all_inner_texts() == []


@pytest.mark.slow
def test_own_data_are_trained_on_and_evaluated(
    browser: Browser, server: str, folder: Path, tmp_path: Path
) -> None:
    own_sets.make(folder / "Data/mine", own_sets.table(112, own_sets.NAMES))
    small = {"experiment": "3-1", "profile": "demo", "data_dir": "Data/mine", "epochs": 1,
             "image_size": 32, "weights": "none"}  # fmt: skip
    for name, given, end in (
        ("ARL-CNN.ipynb", small, "everything is in"),
        ("Evaluation-Cls.ipynb", {"data_dir": "Data/mine"}, "figures and tables are in"),
    ):
        written = nbformat.read(folder / name, as_version=4)
        cell = next(c for c in written.cells if "parameters" in c.metadata.get("tags", []))
        cell.source += "".join(f"\n{key} = {value!r}" for key, value in given.items())
        nbformat.write(written, folder / f"own-{name}")
        page = opened(browser, server, f"own-{name}", end)
        page.screenshot(path=tmp_path / f"own-{name}.png")
        assert page.locator(ERROR).all_inner_texts() == []
        page.close()
    table = pd.read_csv(folder / "model/mine-demo/3-1-s0/predictions-test.csv")
    assert table.columns.tolist() == ["id", "label", *data.classes(folder / "Data/mine")]
    assert (folder / "model/mine-demo/evaluation-cls-test/scores.csv").is_file()


def changed(picture: Locator, before: str) -> None:
    """Wait until the image widget shows another picture."""
    expect(picture).not_to_have_attribute("src", before)
