import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import study_folders
from sklearn.metrics import roc_auc_score

import experiments
from study.report import findings, pairs, sections, tables, trust
from study.report.compare import Own, against_published, beside_published, own_scores
from study.report.entries import Entry, Study, read
from study.report.page import Table
from study.report.pairs import PairedTest, paired_tests
from utils import evaluation
from utils.evaluation.paired import label_differences, mask_differences
from utils.evaluation.published import OTHER
from utils.logger.run import RunFolder

OFFICIAL = {"melanoma": 117, "seborrheic_keratosis": 90, "benign": 393}
ROW = experiments.get("1-1", "best")


@pytest.fixture(scope="module")
def folders(mktemp: Callable[[str], Path]) -> Path:
    """The run folders of a study."""
    folder = mktemp("runs")
    study_folders.study(folder)
    return folder


@pytest.fixture(scope="module")
def rows(folders: Path) -> dict[str, list[Entry]]:
    """The runs of the study by row."""
    entries = [entry(folder) for folder in sorted(folders.iterdir())]
    return Study(entries, "test", study_folders.NOTE).rows


def entry(folder: Path) -> Entry:
    return read(folder.name, RunFolder(folder), "test", "demo")


def of_scores(value: float, low: float, high: float, **more: object) -> Entry:
    """A run whose melanoma scores all are this one, on the official test images."""
    score = {"value": value, "low": low, "high": high}
    metrics = dict.fromkeys(("auc", "accuracy", "sensitivity", "specificity"), score)
    scores = {"data": "ISIC 2017", "split": "test", "n": 600, "counts": OFFICIAL}
    scores |= {"coursework": {"melanoma": metrics}} | more
    experiment = {"name": "1-1", "seed": 0, "train_list": "official"}
    return Entry("1-1-s0", Path(), {"row": experiment}, scores=scores)


def real(entries: list[Entry]) -> list[Entry]:
    """The same runs, as if their images were real ones."""
    return [replace(one, scores=one.scores | {"data": "ISIC 2017"}) for one in entries]


class TestOwnScores:
    def test_one_seed_is_what_its_file_says(self, folders: Path, rows: dict) -> None:
        scores = json.loads((folders / "1-1-s0" / "scores-test.json").read_text())
        own = own_scores(rows["1-1"])
        score = scores["official"]["mean_auc"]
        assert own["official", "mean_auc"][:3] == tuple(score.values())
        assert math.isnan(own["official", "mean_auc"].deviation)
        assert own["coursework", "benign", "specificity"].n == study_folders.IMAGES

    def test_several_seeds_are_their_mean_and_deviation(self, folders: Path, rows: dict) -> None:
        files = [folders / f"1-3-s{seed}" / "scores-test.json" for seed in (0, 1)]
        found = [json.loads(f.read_text())["official"]["melanoma"]["auc"] for f in files]
        own = own_scores(rows["1-3"])["official", "melanoma", "auc"]
        values = [score["value"] for score in found]
        assert own.value == pytest.approx(sum(values) / 2)
        assert own.deviation == pytest.approx(abs(values[0] - values[1]) / math.sqrt(2))
        assert own.low == pytest.approx((found[0]["low"] + found[1]["low"]) / 2)

    def test_an_undefined_score_is_left_out(self) -> None:
        nothing = {"value": None, "low": None, "high": None}
        entries = [of_scores(0.5, 0.4, 0.6), of_scores(0.5, 0.4, 0.6)]
        entries[1].scores["coursework"] = {"melanoma": {"auc": nothing}}
        assert own_scores(entries) == {}
        assert own_scores([replace(entries[0], scores={})]) == {}


class TestAgainstPublished:
    def one(self, ours: Entry, metric: str, **changes: object) -> object:
        study = replace(ROW.published[0], **{"convention": "coursework"} | changes)
        lines = against_published([ours], [study])
        return next(line for line in lines if line.metric == metric)

    def test_an_accuracy_has_wilsons_interval_on_600_images(self) -> None:
        line = self.one(of_scores(0.9, 0.87, 0.93), "melanoma_accuracy")  # theirs: 0.850
        theirs = scipy.stats.binomtest(510, 600).proportion_ci(method="wilson")
        assert line.difference == pytest.approx(0.05)
        assert line.low == pytest.approx(0.05 - math.hypot(0.03, theirs.high - 0.85))
        assert line.high == pytest.approx(0.05 + math.hypot(0.03, 0.85 - theirs.low))
        assert line.verdict == "higher (significant)"

    def test_a_study_that_hides_its_convention_gets_a_verdict_on_aucs_alone(self) -> None:
        assert ROW.published[0].convention == "unstated"
        ours = of_scores(0.9, 0.89, 0.91)
        line = self.one(ours, "melanoma_accuracy", convention="unstated")
        assert line.difference == pytest.approx(0.05)
        assert line.verdict == "theirs: convention not stated"
        assert self.one(ours, "melanoma_auc", convention="unstated").verdict != line.verdict

    def test_a_sensitivity_is_about_the_positives_alone(self) -> None:
        line = self.one(of_scores(0.658, 0.658, 0.658), "melanoma_sensitivity")
        theirs = scipy.stats.binomtest(77, 117).proportion_ci(method="wilson")
        assert -line.low == pytest.approx(theirs.high - 0.658, abs=2e-3)
        assert line.verdict == "not shown either way"

    def test_an_auc_varies_as_hanley_and_mcneil_say(self) -> None:
        line = self.one(of_scores(0.875, 0.875, 0.875), "melanoma_auc")
        a, m, n = 0.875, 117, 483
        others = (m + n) / 2 - 1  # Newcombe's change, see `evaluation.intervals.hanley_mcneil`
        spread = (a / (2 - a) - a**2) + (2 * a**2 / (1 + a) - a**2)
        variance = (a * (1 - a) + others * spread) / (m * n)
        assert line.high - line.low == pytest.approx(2 * 1.96 * math.sqrt(variance), rel=0.02)

    def test_lower_is_said_and_other_images_are_no_verdict(self) -> None:
        ours = of_scores(0.7, 0.65, 0.75)
        assert self.one(ours, "melanoma_auc").verdict == "lower (significant)"
        ours = of_scores(0.7, 0.65, 0.75, split="validation")
        assert self.one(ours, "melanoma_auc").verdict == OTHER

    def test_nothing_published_stands_beside_synthetic_data(self, rows: dict) -> None:
        published = experiments.get("seg-1", "best").published
        assert against_published(rows["seg-1"], published) == []

    def test_a_segmenter_is_compared_in_the_convention_of_the_study(self, rows: dict) -> None:
        published = experiments.get("seg-1", "best").published
        lines = against_published(real(rows["seg-1"]), published)
        own = own_scores(rows["seg-1"])
        for line in lines:
            assert line.ours == own[line.study.convention, line.metric]
            assert line.verdict == OTHER
        assert {line.study.convention for line in lines} == {"coursework", "official"}

    def test_a_mean_over_images_varies_as_ours_on_600(self, rows: dict) -> None:
        study = experiments.Published("someone", {"jaccard": 0.7}, "?", convention="official")
        (line,) = against_published(real(rows["seg-1"]), [study])
        ours: Own = line.ours
        scale = math.sqrt(study_folders.IMAGES / 600)
        expected = math.hypot(ours.value - ours.low, scale * (ours.high - ours.value))
        assert line.difference - line.low == pytest.approx(expected)


def test_the_page_sets_ours_beside_theirs_unless_the_images_are_synthetic(rows: dict) -> None:
    study = Study(real(rows["1-1"]), "test", "ISIC 2017")
    _, head, *_ = sections.published(study, beside_published(study)).blocks
    table = head.table.set_index(["published", "score"])
    shown = table.loc[("Zhang et al. 2019, ARL-CNN50", "M AUC")]
    score = study.entries[0].scores["coursework"]["melanoma"]["auc"]
    assert shown["ours"] == "{value:.3f} [{low:.3f}, {high:.3f}]".format(**score)
    assert shown["theirs"] == "0.875"
    assert shown["difference"].startswith(f"{score['value'] - 0.875:+.3f}".replace("-", "−"))
    study = replace(study, entries=rows["1-1"], data=study_folders.NOTE)
    (words,) = sections.published(study, beside_published(study)).blocks
    assert "synthetic" in words.text


def test_the_brier_score_has_the_interval_that_the_notebook_shows(rows: dict) -> None:
    run = rows["1-1"][0]
    assessed = evaluation.trust.assess(run.fitting.table, run.results)
    shown = evaluation.trust.readable(assessed.calibration)
    study = Study([run], "test", study_folders.NOTE)
    found = next(block for block in trust.trust(study).blocks if isinstance(block, Table))
    first = shown[shown["probabilities"] == evaluation.trust.BEFORE]
    assert found.table["Brier"].tolist() == first["brier"].tolist()


class TestPairedTests:
    def found(self, rows: dict, **against: str) -> list[PairedTest]:
        tests, left_out = paired_tests(rows, {k.replace("_", "-"): v for k, v in against.items()})
        assert left_out == []
        return tests

    def test_one_seed_against_one(self, rows: dict) -> None:
        first, second = (rows[name][0].results for name in ("1-1", "1-2"))
        areas = [roc_auc_score(t["label"] == 0, t["melanoma"]) for t in (first, second)]
        tests = self.found(rows, **{"1_1": "1-2"})
        mean, melanoma, keratosis, accuracy = tests
        assert [test.test for test in tests] == ["bootstrap", "DeLong", "DeLong", "McNemar"]
        assert (melanoma.first, melanoma.second) == pytest.approx(areas)
        assert mean.first == pytest.approx((melanoma.first + keratosis.first) / 2)
        assert mean.low < mean.first - mean.second < mean.high
        names = ["melanoma", "seborrheic_keratosis", "benign"]
        right = [t[names].to_numpy().argmax(1) == t["label"] for t in (first, second)]
        alone = [int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())]
        coins = scipy.stats.binomtest(alone[0], sum(alone))
        assert accuracy.p_value == pytest.approx(coins.pvalue)
        assert -1 < accuracy.low <= accuracy.first - accuracy.second <= accuracy.high < 1
        assert accuracy.note == f"right alone: {alone[0]} against {alone[1]} images"

    def test_holm_by_hand_over_the_table(self, rows: dict) -> None:
        tests = self.found(rows, **{"1_1": "1-2", "1_4": "1-1"})
        order = sorted(tests, key=lambda test: test.p_value)
        steps = [test.p_value * (len(order) - place) for place, test in enumerate(order)]
        expected = np.minimum(np.maximum.accumulate(steps), 1)
        assert [test.adjusted for test in order] == pytest.approx(expected.tolist())

    def test_seeds_are_averaged_and_their_spread_is_told(self, folders: Path, rows: dict) -> None:
        again = shutil.copytree(folders / "1-3-s1", folders.parent / "copy" / "4-1-s1")
        config = json.loads((again / "config.json").read_text())
        config["row"]["name"] = "4-1"
        (again / "config.json").write_text(json.dumps(config))
        both = rows | {"4-1": [*rows["4-1"], entry(again)]}
        mean = next(test for test in self.found(both, **{"4_1": "1-3"}) if test.main)
        files = [folders / f"1-3-s{seed}" / "scores-test.json" for seed in (0, 1)]
        values = [json.loads(f.read_text())["official"]["mean_auc"]["value"] for f in files]
        assert mean.seeds == (0, 1)
        assert mean.second == pytest.approx(np.mean(values))
        assert mean.spread[1] == pytest.approx(np.std(values, ddof=1))

    def test_a_difference_has_the_interval_that_the_notebooks_show(self, rows: dict) -> None:
        tests = self.found(rows, **{"1_1": "1-2", "seg_6": "seg-1"})
        of_classes = label_differences({n: rows[n][0].results for n in ("1-2", "1-1")})
        of_masks = mask_differences({n: rows[n][0].results for n in ("seg-1", "seg-6")})
        shown = {**of_classes.loc["1-1"], **of_masks.loc["seg-6"]}
        for test in tests:
            if test.test in ("bootstrap", "DeLong"):
                value = test.first - test.second
                assert shown[test.what] == f"{value:+.3f} [{test.low:+.3f}, {test.high:+.3f}]"
        jaccards = (rows[name][0].results["jaccard"] for name in ("seg-6", "seg-1"))
        by_scipy = scipy.stats.wilcoxon(*jaccards, zero_method="pratt")
        assert tests[-1].p_value == pytest.approx(by_scipy.pvalue)

    def test_melanoma_alone_is_compared_on_melanoma(self, rows: dict) -> None:
        tests = self.found(rows, **{"1_4": "1-1"})
        assert [test.what for test in tests] == [*["AUC melanoma"] * 2, "accuracy melanoma"]
        # The same probabilities: only the decision differs.
        assert tests[0].first == tests[0].second
        assert tests[0].verdict == "not shown either way"

    def test_other_images_are_left_out_and_said(self, rows: dict) -> None:
        other = rows["1-2"][0]
        table = other.results.assign(id=[f"X{n}" for n in range(len(other.results))])
        changed = rows | {"1-2": [replace(other, results=table)]}
        tests, left_out = paired_tests(changed, {"1-1": "1-2"})
        assert tests == []
        assert "1-1 against 1-2: the tables are about different images" in left_out[0]
        other = rows["seg-1"][0]
        table = other.results.iloc[1:]
        changed = rows | {"seg-1": [replace(other, results=table)]}
        tests, left_out = paired_tests(changed, {"seg-6": "seg-1"})
        assert tests == []
        assert "seg-6 against seg-1: the tables are about different images; only" in left_out[0]

    @pytest.mark.parametrize("name", ["mcnemar", "wilcoxon"])
    @pytest.mark.parametrize("kind", [KeyError, ValueError])
    def test_a_fault_of_ours_drops_no_pair(self, rows: dict, monkeypatch, name, kind) -> None:
        def broken(*_: object) -> None:
            raise kind("ours")

        monkeypatch.setattr(pairs, "RESAMPLES", 10)
        monkeypatch.setattr(pairs, name, broken)
        with pytest.raises(kind, match="ours"):
            paired_tests(rows, {"1-1": "1-2", "seg-6": "seg-1"})

    def test_a_row_that_is_the_same_run_is_compared_in_its_place(self, rows: dict) -> None:
        as_it_is, _ = paired_tests(rows, {"4-1": "1-3"})
        against = {"4-1": "2-4", "2-4": "1-1", "1-3": "2-4"}
        tests, left_out = paired_tests(rows, against, {"2-4": "1-3"})
        assert tests == as_it_is
        assert left_out == [
            "2-4 against 1-1: 2-4 is the same run as 1-3.",
            "1-3 against 2-4: both are the same run.",
        ]

    def test_without_a_seed_in_common_nothing_is_compared(self, rows: dict) -> None:
        changed = rows | {"1-3": rows["1-3"][1:]}
        tests, left_out = paired_tests(changed, {"4-1": "1-3", "9-9": "1-3"})
        assert tests == []
        assert left_out == ["4-1 against 1-3: no seed of both has results for each image."]


def test_numbers_and_verdicts_agree():
    assert tables.number(-0.0001) == "0.000"
    assert tables.number(-0.0001, sign=True) == "+0.000"
    assert tables.number(-0.0312, sign=True) == "−0.031"
    given = (0.0496, 0.04996, 0.0501, 0.2, 0.0004, math.nan)
    texts = ["0.0496", "< 0.05", "0.0501", "0.200", "< 0.001", "–"]
    assert [*map(tables.p_text, given)] == texts


def test_a_comparison_that_is_undefined_is_not_told_as_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nan = float("nan")
    same = ("labels", (0,), "mean AUC", "bootstrap")
    tests = [
        pairs.PairedTest("3-2", "3-1", *same, nan, nan, nan, nan, nan),
        pairs.PairedTest("3-3", "3-1", *same, 0.8, 0.8, -0.1, 0.1, 0.9),
    ]
    monkeypatch.setattr(findings, "trained_unlike", lambda *_: {})
    said = findings._between_rows(Study([], "test", "mine"), pairs.corrected(tests))
    assert "Not shown either way: 3-3 against 3-1. " in said
    assert "Undefined, as a class is missing: 3-2 against 3-1. " in said
