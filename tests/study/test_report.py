import ast
import csv
import html.parser
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import study_folders
from PIL import Image

import experiments
from study import report
from study.report import entries, figures, findings, pairs, sections
from study.report import tables as tables_of_report
from study.report.figures import gallery
from utils import evaluation
from utils.evaluation.paired import paired_difference
from utils.logger.run import RunFolder
from utils.system.project import PROJECT

SECTIONS = (
    *("summary", "baselines", "published", "paired", "folds", "forest", "curves"),
    *("cases", "attention", "trust", "record", "cost"),
)
OUT = Path("model", "report-test")


class Page(html.parser.HTMLParser):
    """Tags with their attributes, and the text of each section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.texts: dict[str, str] = {}
        self.open: list[str] = []
        self.section = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self.section = dict(attrs)["id"]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts[self.section] = self.texts.get(self.section, "") + data


def write(folder: Path, data: Path, split: str = "test", **more: Any) -> Path:
    """The report of the study in the folder."""
    runs = {path.name: RunFolder(path) for path in sorted((folder / "model").glob("*-s?"))}
    return report.write(runs, data, split, **more)


@pytest.fixture(scope="module", autouse=True)
def _fewer_resamples() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "RESAMPLES", 2000)
        patch.setattr(evaluation.trust, "assess", partial(evaluation.trust.assess, resamples=50))
        yield


@pytest.fixture(scope="module")
def study(mktemp: Callable[[str], Path], demo_set: Path) -> Path:
    """A folder with the runs of a study in `model`, and its report in `model/report-test`."""
    folder = mktemp("study")
    study_folders.study(folder / "model")
    (folder / "run.html").write_text("evaluated")
    pages = {"cls & 'x'": folder / "run.html"}
    failed, same = ["row 9-9: no <b>bold</b>"], {"2-4-s0": "1-3-s0"}
    write(folder, demo_set, failed=failed, pages=pages, same=same)
    return folder


@pytest.fixture(scope="module")
def text(study: Path) -> str:
    """The page."""
    return (study / OUT / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    """The page, parsed: every tag that is opened is closed."""
    page = Page(text)
    assert not page.open
    return page


@pytest.fixture
def small(study: Path, tmp_path: Path) -> Path:
    """A copy with a classifier and a segmenter, to be changed."""
    for name in ("1-3-s0", "seg-6-s0"):
        shutil.copytree(study / "model" / name, tmp_path / "model" / name)
    return tmp_path


def outside_cost(file: Path) -> str:
    """The page without what may change from one execution to another."""
    text, cuts = re.subn(
        r'<section id="cost">.*?</section>', "", file.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    assert cuts == 1
    return text


def test_every_section_is_there_in_order_and_linked(page: Page) -> None:
    ids = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert tuple(ids) == SECTIONS
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert {f"#{name}" for name in SECTIONS} < set(links)


def test_predictions_of_others_are_compared_and_not_called_a_run(
    small: Path, demo_set: Path, tmp_path: Path
) -> None:
    row = experiments.OTHERS["other"]
    their = study_folders.classifier(tmp_path / "others-demo/their", row, 0.5)
    their.save_json("config.json", their.config | {"file": {"path": "there/their.csv"}})
    (their / "timing.csv").unlink()
    runs = {name: RunFolder(small / "model" / name) for name in ("1-3-s0", "seg-6-s0")}
    page = report.write(runs | {"their.csv": their}, demo_set, "test")
    texts = Page(page.read_text(encoding="utf-8")).texts
    assert (
        "predictions of others, of which nothing else is known: their.csv (there/their.csv)"
        in (texts["summary"])
    )
    assert "2 rows of the experiment table" in texts["summary"]
    assert not re.search("could not be read|timing", texts["summary"])
    assert "Classifiers: 4 paired tests" in " ".join(texts["paired"].split())
    assert texts["paired"].count("their.csv") == 1  # one cell for its four lines
    for name in ("record", "cost", "trust", "baselines", "cases"):
        assert "their.csv" not in texts[name], name
    results = pd.read_csv(page.with_name("results.csv"))
    assert set(results["run"]) == {"1-3-s0", "seg-6-s0", "their.csv"}
    assert page.read_text(encoding="utf-8").count("ROC of their.csv") == 1


def test_nothing_is_fetched_or_executed(page: Page, text: str) -> None:
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        if tag == "img":
            assert attributes["src"].startswith("data:image/webp;base64,")
            assert attributes["alt"]
        if tag == "a":
            assert re.fullmatch(r"#\w+|[\w%.\-]+\.html", attributes["href"])
    assert "url(" not in text
    assert "@import" not in text


def test_hostile_ids_messages_and_paths_are_texts(page: Page) -> None:
    assert "no <b>bold</b>" in page.texts["summary"]
    assert "cls & 'x'" in page.texts["summary"]
    assert ("a", {"href": "cls%20%26%20%27x%27.html"}) in page.tags
    assert ("b", {}) not in page.tags


def test_hostile_ids_are_named_among_the_failures(
    study: Path, tmp_path: Path, demo_set: Path
) -> None:
    shutil.copytree(study / "model" / "seg-6-s0", tmp_path / "model" / "seg-6-s0")
    file = tmp_path / "model" / "seg-6-s0" / "per-image-test.csv"
    table = pd.read_csv(file)
    table.loc[table["id"].isin(study_folders.HOSTILE), "jaccard"] = 0.001
    table.to_csv(file, index=False)
    page = Page(write(tmp_path, demo_set).read_text(encoding="utf-8"))
    for name in study_folders.HOSTILE:
        assert f"{name} (0.00)" in page.texts["cases"]
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [one for _, attributes in page.tags for one in attributes if one.startswith("on")]


def test_the_csv_holds_every_score_of_every_file(study: Path) -> None:
    with (study / OUT / "results.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == [
        *("run", "row", "seed", "profile", "data", "split"),
        *("convention", "metric", "value", "low", "high", "n"),
    ]
    found = {(line["run"], line["convention"], line["metric"]): line for line in lines}
    assert len(found) == len(lines)
    for folder in (study / "model").glob("*-s?"):
        scores = json.loads((folder / "scores-test.json").read_text())
        for convention in ("official", "coursework"):
            for name, score in scores[convention].items():
                inner = score if "value" not in score else {"": score}
                for metric, one in inner.items():
                    line = found.pop((folder.name, convention, f"{name}_{metric}".rstrip("_")))
                    assert [float(line[end]) for end in one] == list(one.values())
                    assert line["n"] == str(study_folders.IMAGES)
    assert {key[1] for key in found} == {"lesion"}  # of segmenters


def test_the_page_shows_the_numbers_of_the_files(study: Path, page: Page) -> None:
    scores = json.loads((study / "model" / "1-1-s0" / "scores-test.json").read_text())
    score = scores["official"]["melanoma"]["auc"]
    shown = "{value:.3f} [{low:.3f}, {high:.3f}]".format(**score)
    assert shown in page.texts["record"] + (study / OUT / "results.tex").read_text()
    jaccard = json.loads((study / "model" / "seg-6-s0" / "scores-test.json").read_text())
    best = "{value:.3f} [{low:.3f}, {high:.3f}]".format(**jaccard["official"]["jaccard"])
    assert f"2 segmenters is that of row seg-6 (lite_unet): {best}" in page.texts["summary"]


def test_the_summary_says_what_ran_and_what_began_from_random_weights(page: Page) -> None:
    words = page.texts["summary"]
    assert "7 rows of the experiment table (5 classifiers and 2 segmenters), 8 runs" in words
    assert "seeds 0 and 1, profile best, trained on synthetic images" in words
    assert "The data are synthetic" in words
    assert "From random weights: 1-1, 1-2, 1-3, 1-4, 4-1 and seg-1." in words
    assert "Of these, 1-1, 1-2 and 1-4 should start from pretrained weights" in words
    assert "seg-6 higher than seg-1" in words
    assert "shown under one name: 2-4 is the same run as 1-3." in words
    assert "1-4 against" not in words  # its partner, 1-6, is not there
    # 1-1 was started without the weights that its recipe has, as were 1-2 and 1-4.
    assert "Not trained alike, so that more differs: 1-3 against 1-1." in words
    assert "1-3 against 1-1. 1-3: epochs 2 (60); 1-1: " in page.texts["paired"]


def test_images_that_were_trained_on_flatter(small: Path, demo_set: Path) -> None:
    page = Page(write(small, demo_set, split="train").read_text(encoding="utf-8"))
    assert "trained on the reported images: all scores are optimistic" in page.texts["summary"]


def test_overrides_stand_beside_the_recipe(page: Page) -> None:
    assert "weights none (imagenet), epochs 2 (30)" in page.texts["record"]
    assert "0123456789abcdef" in page.texts["record"]


def test_machines_and_times_stand_in_the_cost_alone(page: Page) -> None:
    for fact in ("A processor", "7.8 GB", "Linux-somewhere", "950 MB", "8.02 M", "1.25", "5.8"):
        assert fact in page.texts["cost"]
    for section in SECTIONS[:-1]:
        assert "processor" not in page.texts[section]
        assert "Linux" not in page.texts[section]


def test_equal_runs_make_equal_pages_outside_the_cost(small: Path, demo_set: Path) -> None:
    first = outside_cost(write(small, demo_set))
    tables = [(small / OUT / f"results.{kind}").read_bytes() for kind in ("csv", "tex")]
    for folder in (small / "model").glob("*-s?"):
        timing = pd.read_csv(folder / "timing.csv")
        timing.assign(seconds=[31.5, 99.0]).to_csv(folder / "timing.csv", index=False)
        config = json.loads((folder / "config.json").read_text())
        config |= {"machine": {"processor": "Another", "cores": 64, "memory_gb": 256.0}}
        config["versions"] |= {"platform": "elsewhere"}
        (folder / "config.json").write_text(json.dumps(config | {"device": "a card"}))
    moved = small / "moved"
    moved.mkdir()
    (small / "model").rename(moved / "model")
    page = write(moved, demo_set)
    assert outside_cost(page) == first
    assert [(moved / OUT / f"results.{kind}").read_bytes() for kind in ("csv", "tex")] == tables
    assert "Another" in page.read_text(encoding="utf-8")


def test_old_runs_and_broken_pictures_leave_a_page(small: Path, demo_set: Path) -> None:
    for file in (small / "model").glob("*/config.json"):
        config = json.loads(file.read_text())
        del config["network"], config["machine"]
        file.write_text(json.dumps(config))
    for file in (small / "model").glob("*/figures/gallery.png"):
        file.write_text("no picture")
    page = Page(write(small, demo_set).read_text(encoding="utf-8"))
    assert page.texts["cost"].count("not recorded") == 2 * 2 + 3
    assert "None of the runs has figures/gallery.png" in page.texts["cases"]


@pytest.mark.parametrize(
    ("file", "cure"),
    [
        ("predictions-test.csv", "--split test"),
        ("predictions-holdout.csv", "--split test"),
        ("scores-test.json", "--split test"),
        ("history.csv", "--resume restart"),
        ("timing.csv", "--resume restart"),
        ("config.json", "--resume restart"),
    ],
)
@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_file_that_cannot_be_read_is_noted_with_its_command(
    study: Path, tmp_path: Path, file: str, cure: str, damage: str
) -> None:
    folder = tmp_path / "1-3-s1"
    shutil.copytree(study / "model" / "1-3-s1", folder)
    (folder / file).unlink()
    if damage == "damaged":
        (folder / file).write_bytes(b'{"a": [\xff')
    found = entries.read("1-3-s1", RunFolder(folder), "test", "'my data'")
    command = f"python reproduce.py 1-3 --profile best --data-dir 'my data' --seeds 1 {cure}"
    lack = entries.Lack("1-3-s1", file, damage, command)
    assert lack in found.lacks
    assert len(found.lacks) == 1


@pytest.mark.parametrize(
    ("file", "column", "value"),
    [
        ("predictions-test.csv", "melanoma", 1.7),
        ("predictions-test.csv", "melanoma", np.nan),
        ("predictions-test.csv", "label", 3),
        ("per-image-test.csv", "jaccard", "half"),
        ("history.csv", "loss", "low"),
    ],
)
def test_a_table_of_other_values_is_damaged(
    study: Path, tmp_path: Path, file: str, column: str, value: object
) -> None:
    name = "seg-6-s0" if "image" in file else "1-3-s1"
    shutil.copytree(study / "model" / name, tmp_path / name)
    table = pd.read_csv(tmp_path / name / file).astype({column: object})
    table.loc[1, column] = value
    table.to_csv(tmp_path / name / file, index=False)
    found = entries.read(name, RunFolder(tmp_path / name), "test", "demo")
    assert [(lack.file, lack.why) for lack in found.lacks] == [(file, "damaged")]
    assert (found.history if file == "history.csv" else found.results).empty


def test_a_librarys_network_is_a_row_of_its_own(tmp_path: Path) -> None:
    row = experiments.get("1-1", "demo", network="timm:resnet18", epochs=3)
    run = study_folders.classifier(tmp_path / "demo-demo" / row.folder(), row)
    (run / "history.csv").unlink()
    entry = entries.read(run.path.name, run, "test", "demo")
    assert (entry.row, entry.task, entry.seed) == ("1-1-timm-resnet18", "labels", 0)
    assert entry.recipe == experiments.get("1-1", "demo", network="timm:resnet18")
    assert tables_of_report.overrides(entry) == "epochs 3 (2)"
    (lack,) = entry.lacks
    assert "reproduce.py 1-1 --profile demo" in lack.command
    assert " -p network timm:resnet18 " in lack.command


def test_a_fault_in_drawing_is_no_damaged_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> str:
        raise OSError("ours")

    (tmp_path / "figures").mkdir()
    file = tmp_path / "figures" / "gallery.png"
    runs = {"1-3": [SimpleNamespace(name="1-3-s0", folder=tmp_path)]}
    monkeypatch.setattr(figures, "_uri", broken)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(file)
    content = bytearray(file.read_bytes())
    with pytest.raises(OSError, match="ours"):
        sections.galleries(SimpleNamespace(rows=runs, entries=[]))
    content[1000:1004] = b"\0" * 4
    for damaged in (b"no picture", content[:2000], content):
        file.write_bytes(damaged)
        page = sections.galleries(SimpleNamespace(rows=runs, entries=[]))
        assert "figures/gallery.png" in str(page)


def test_empty_run_folders_without_data_leave_a_page(tmp_path: Path) -> None:
    for name in ("1-3-s0", "seg-1-s0"):
        (tmp_path / "model" / name).mkdir(parents=True)
    page = Page(write(tmp_path, tmp_path / "nowhere").read_text(encoding="utf-8"))
    words = page.texts["summary"]
    assert "python reproduce.py 1-3 --profile best --data-dir 'nowhere' --seeds 0" in words
    assert "predictions-test.csv" in words
    assert "per-image-test.csv" in words
    assert "The images could not be counted: no ISIC 2017 data in" in page.texts["record"]
    assert tuple(t[1]["id"] for t in page.tags if t[0] == "section") == SECTIONS


def test_rows_that_do_not_beat_age_and_sex_are_named(small: Path, demo_set: Path) -> None:
    for name, skill in (("0-1", 0.0), ("0-2", 3.0)):  # more than the row has
        experiment = experiments.get(name)
        study_folders.classifier(small / "model" / f"{name}-s0", experiment, skill)
    otsu = experiments.get("seg-0-1")
    study_folders.segmenter(small / "model" / "seg-0-1-s0", otsu, skill=0.3)
    # One of them is asked for, the others lie beside the runs.
    names = ("1-3-s0", "seg-6-s0", "0-2-s0")
    runs = {name: RunFolder(small / "model" / name) for name in names}
    page = Page(report.write(runs, demo_set, "test").read_text(encoding="utf-8"))
    tables = [pd.read_csv(small / "model" / n / "predictions-test.csv") for n in names[::2]]
    difference = paired_difference(*tables, resamples=2000)
    assert difference.high < 0
    text = tables_of_report.within(*difference[:3], sign=True)
    summary = " ".join(page.texts["summary"].split())
    assert f"age and sex alone, without an image (row 0-2), 1 of 1 row: 1-3 (mean AUC {text})" in (
        summary
    )
    assert "More than Otsu's threshold (row seg-0-1): seg-6." in summary
    assert "1 classifier and 1 segmenter" in summary  # a baseline is no row that was trained
    assert text in page.texts["baselines"]
    for name in ("0-1: Majority", "0-2: Age", "seg-0-1: Otsu"):
        assert name in page.texts["baselines"]
    results = pd.read_csv(small / OUT / "results.csv")
    assert set(results["run"]) == {*names, "0-1-s0", "seg-0-1-s0"}


def test_baselines_alone_are_a_report_too(small: Path, demo_set: Path) -> None:
    for name, skill in (("0-2", 0.5), ("0-4", 3.0)):
        experiment = experiments.get(name)
        study_folders.classifier(small / "model" / f"{name}-s0", experiment, skill)
    runs = {name: RunFolder(small / "model" / name) for name in ("0-2-s0", "0-4-s0")}
    page = Page(report.write(runs, demo_set, "test").read_text(encoding="utf-8"))
    assert "More than age and sex alone, without an image (row 0-2): 0-4." in page.texts["summary"]


def test_without_baselines_their_command_is_named(page: Page) -> None:
    assert "python reproduce.py 0-1 0-2 0-3 0-4 0-5 0-6 seg-0-1" in page.texts["baselines"]


def test_no_run_at_all_is_an_error(tmp_path: Path, demo_set: Path) -> None:
    with pytest.raises(ValueError, match="no run to report; expected one run folder"):
        write(tmp_path, demo_set)


def test_the_page_stays_small_whatever_the_galleries_are(text: str) -> None:
    # Eight runs whose galleries are noise, which packs worst of all.
    assert len(text.encode()) < 1_900_000


def test_latex_tables_are_whole(study: Path) -> None:
    text = (study / OUT / "results.tex").read_text(encoding="utf-8")
    tables = re.findall(r"\\begin\{longtable\}\{(l+)\}(.*?)\\end\{longtable\}", text, re.DOTALL)
    assert len(tables) == 3  # nothing published beside synthetic data
    for columns, body in tables:
        assert r"\toprule" in body
        assert r"\bottomrule" in body
        lines = [line for line in body.splitlines() if " & " in line]
        assert lines
        for line in lines:
            assert len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1, line
    assert not re.search(r"(?<!\\)[%#_](?!.*usepackage)", text.split("\n", 1)[1])


def test_what_a_run_logged_says_whether_it_attends_not_the_name_of_its_network() -> None:
    def run(history: pd.DataFrame, **settings: object) -> SimpleNamespace:
        return SimpleNamespace(experiment={"network": "arl14"} | settings, history=history)

    plain = pd.DataFrame({"epoch": [1], "loss": [0.5]})
    attends = plain.assign(**{"α layer1.0.alpha": 0.1})
    role = findings._role
    assert role(run(attends, network="focus"), run(plain)) == ("With attention", "without")
    assert role(run(plain), run(plain, network="resnet14")) is None
    assert role(run(attends), run(pd.DataFrame())) is None  # nothing is known of the other
    kinds = (run(attends, attention=kind) for kind in ("spatial", "channel"))
    assert role(*kinds) == ("With the softmax over positions", "over channels")


def test_no_network_is_needed(small: Path, demo_set: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from study import report; from utils import logger\n"
        "runs = {path.name: logger.RunFolder(path) for path in map(Path, sys.argv[2:])}\n"
        "report.write(runs, Path(sys.argv[1]), 'test'); print(sorted(sys.modules))"
    )
    runs = map(str, sorted((small / "model").iterdir()))
    command = [sys.executable, "-c", code, str(demo_set), *runs]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stdout))
    assert "study.report.trust" in loaded
    assert not loaded & {"torch", "nets"}


def test_pages_of_an_earlier_report_do_not_stay(small: Path, demo_set: Path) -> None:
    names = ("evaluation-cls-test", "evaluation-seg-test")
    (small / "run.html").write_text("evaluated")
    for shown in (names, names[:1]):
        write(small, demo_set, pages=dict.fromkeys(shown, small / "run.html"))
        pages = sorted(page.stem for page in (small / OUT).glob("evaluation-*.html"))
        assert pages == list(shown)
    assert (small / OUT / f"{names[0]}.html").read_text() == "evaluated"


def test_the_gallery_is_a_picture_no_wider_than_said(study: Path) -> None:
    file = study / "model" / "1-3-s0" / "figures" / "gallery.png"
    roomy, tight = (gallery(file, "cases", "", bytes_) for bytes_ in (10**9, 1))
    assert (roomy.width, roomy.height) == (900, 450)
    assert tight.width == 420
    assert np.asarray(Image.open(file)).shape[1] == 1200
