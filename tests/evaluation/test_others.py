"""Predictions of others: one file in all its forms, scored and compared as a run is."""

import re
from pathlib import Path

import numpy as np
import own_sets
import pandas as pd
import pytest
import study_folders
from sklearn.metrics import roc_auc_score

import experiments
from study.report import entries, pairs
from utils import data, evaluation, logger
from utils.evaluation import fitting, others, results
from utils.logger.run import RunFolder
from utils.system.errors import DataError, RunError

ROW = experiments.OTHERS["other"]
NAMES = list(data.CLASSES)


@pytest.fixture
def tested(demo_rows: pd.DataFrame) -> pd.DataFrame:
    return demo_rows[demo_rows["split"] == "test"].reset_index(drop=True)


@pytest.fixture
def table(tested: pd.DataFrame) -> pd.DataFrame:
    """Probabilities (n, 3) that know the labels a little."""
    logits = np.random.default_rng(0).normal(size=(len(tested), 3)) + np.eye(3)[tested["label"]]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return tested[["id"]].join(pd.DataFrame(p, columns=NAMES))


@pytest.fixture
def adopt(demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a table as their.csv, and reads it as predictions of the test images."""
    monkeypatch.setattr("utils.system.project.PROJECT", tmp_path)

    def read(table: pd.DataFrame | str, said: str = "", **how: object) -> pd.DataFrame:
        file = tmp_path / "their.csv"
        text = table if isinstance(table, str) else table.to_csv(index=False, **how)
        file.write_text(text, encoding="utf-8")
        run = others.adopt(f"{file}{said}", ROW, demo_set)
        images = data.read(demo_set)
        images = images[images["split"] == "test"].reset_index(drop=True)
        return results.predictions(run, "test", images, lambda: pytest.fail("predicted"))

    return read


FORMS = {
    "ours": (lambda t: t.assign(label=0), ""),
    "submitted": (lambda t: t.rename(columns={"id": "image_id"})[["image_id", *NAMES[:2]]], ""),
    "file names": (lambda t: t.assign(id=t["id"].str.lower() + ".jpg"), ""),
    "another order": (lambda t: t.sample(frac=1, random_state=1), ""),
    "short names": (lambda t: t.set_axis(["Image", "MEL", "SK", "Nevus"], axis=1), ""),
    "percent": (lambda t: t.assign(**{n: 100 * t[n] for n in NAMES}), ":percent"),
    "logits": (lambda t: t.assign(**{n: np.log(t[n]) + 3 for n in NAMES}), ":logits"),
    "columns named": (
        lambda t: t.set_axis(["case", "a", "b", "c"], axis=1),
        ":id=case:melanoma=a:seborrheic_keratosis=b:benign=c",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_three_classes_in_every_form(form, adopt, table) -> None:
    change, said = FORMS[form]
    read = adopt(change(table), said)
    assert read["id"].tolist() == table["id"].tolist()
    np.testing.assert_allclose(read[NAMES], table[NAMES], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t[["id", "melanoma"]], ""),
        (lambda t: t[["id", "melanoma"]].assign(benign=1 - t["melanoma"]), ""),
        (lambda t: t[["id", "melanoma"]].set_axis(["id", "score"], axis=1), ":melanoma=score"),
        (lambda t: t[["id"]].assign(p=1 - t["melanoma"]), ":benign=p"),
        (lambda t: t[["id"]].assign(p=100 - 100 * t["melanoma"]), ":percent:benign=p"),
        (lambda t: t[["id"]].assign(mel=np.log(t["melanoma"] / (1 - t["melanoma"]))), ":logits"),
    ],
)
def test_melanoma_alone(change, said, adopt, table) -> None:
    read = adopt(change(table), said)
    assert read.columns.tolist() == ["id", "label", "melanoma"]
    np.testing.assert_allclose(read["melanoma"], table["melanoma"], rtol=0, atol=1e-12)


def test_semicolons_and_images_of_other_splits(adopt, table, demo_rows, capsys) -> None:
    more = demo_rows[demo_rows["split"] == "validation"][["id"]].assign(**dict.fromkeys(NAMES, 0.3))
    read = adopt(pd.concat([more, table]), sep=";")
    np.testing.assert_allclose(read[NAMES], table[NAMES], rtol=0, atol=1e-12)
    said = capsys.readouterr().out
    assert re.search(r"DEMO_\d+ … \(8 in all\) are no images of this split, left out", said)
    assert said.count("has no network, history or temperature") == 1


def test_rounded_probabilities_and_answers(adopt, table, capsys) -> None:
    rounded = adopt(table.round(2))
    np.testing.assert_allclose(rounded[NAMES].sum(axis=1), 1, atol=1e-12)
    assert abs(rounded[NAMES] - table[NAMES]).max(axis=None) < 0.02
    capsys.readouterr()
    answers = table[NAMES].to_numpy().argmax(axis=1)
    read = adopt(table[["id"]].assign(melanoma=(answers == 0).astype(int)))
    assert (read["melanoma"] == (answers == 0)).all()
    assert "All are 0 or 1, so its curves have one corner." in capsys.readouterr().out


def test_it_is_scored_as_scikit_learn_does(adopt, table, tested, tmp_path, demo_set) -> None:
    adopt(table)
    run = RunFolder(tmp_path / "model/others-demo/their")
    scores = evaluation.score_files.read(run / "scores-test.json")
    areas = [
        roc_auc_score(tested["label"] == number, table[name]) for number, name in enumerate(NAMES)
    ]
    for name, area in zip(NAMES[:2], areas, strict=False):
        assert scores["official"][name]["auc"]["value"] == pytest.approx(area, abs=1e-12)
    mean = scores["official"]["mean_auc"]["value"]
    assert mean == pytest.approx(np.mean(areas[:2]), abs=1e-12)
    rows = experiments.of_task("labels") | experiments.OTHERS
    found = logger.find(str(run.path), demo_set, rows)
    assert list(found) == ["their"]
    line = logger.overview(found).loc["their"]
    assert line["network"] == f"predictions of {tmp_path / 'their.csv'}"
    fitted = fitting.predictions(run, experiments.restore(run.config["row"]))
    assert (fitted.table, fitted.where) == (None, "a file of predictions is about no other images.")


def test_made_again_it_has_the_new_numbers(adopt, table, tmp_path) -> None:
    adopt(table[["id", "melanoma"]])
    read = adopt(table)
    np.testing.assert_allclose(read[NAMES], table[NAMES], rtol=0, atol=1e-12)
    run = RunFolder(tmp_path / "model/others-demo/their")
    assert "mean_auc" in evaluation.score_files.read(run / "scores-test.json")["official"]


def test_runs_are_handed_on_and_files_become_folders(adopt, table, demo_set, tmp_path) -> None:
    adopt(table)
    file = str(tmp_path / "their.csv")
    for runs in (None, "3-1,3-2", ["3-1"], 31):
        assert others.adopted(runs, ROW, demo_set) is runs
    folder = str(tmp_path / "model/others-demo/their")
    assert others.adopted(f"3-1, {file}:melanoma=benign", ROW, demo_set) == ["3-1", folder]
    others.adopted([file], ROW, demo_set, "test", 1)
    assert (tmp_path / folder / "predictions-test-1-views.csv").is_file()


def test_paired_numbers_are_those_of_the_same_predictions_as_a_run(
    tmp_path, adopt, table, tested
) -> None:
    """Bootstrap, DeLong and McNemar, seed by seed."""
    random = np.random.default_rng(1)
    read = {}
    for name, seed in (("3-1", 0), ("3-1", 1), ("3-2", 0), ("3-2", 1)):
        row = experiments.get(name, "light", seed=seed, epochs=2)
        run = study_folders.classifier(tmp_path / "m" / row.folder(), row)
        noisy = table[NAMES] + random.uniform(0, 0.5, table[NAMES].shape) * (name == "3-1")
        p = noisy.div(noisy.sum(axis=1), axis=0)
        run.save_table("predictions-test.csv", tested[["id", "label"]].join(p))
        read[row.folder()] = entries.read(row.folder(), run, "test", "demo")
    adopt(table)
    run = RunFolder(tmp_path / "model/others-demo/their")
    their = entries.read("their.csv", run, "test", "demo")
    first, second = ([e for e in read.values() if e.row == row] for row in ("3-1", "3-2"))
    as_runs, _ = pairs.paired_tests({"3-1": first, "3-2": second}, {"3-1": "3-2"})
    as_file, left_out = pairs.paired_tests({"3-1": first}, {}, None, [their])
    assert not left_out
    assert [test.test for test in as_file] == ["bootstrap", "DeLong", "DeLong", "McNemar"]
    assert {test.other for test in as_file} == {"their.csv"}
    same = [repr(test._replace(other="3-2")) for test in as_file]
    assert same == [repr(test) for test in as_runs]


HOSTILE = [
    ("id,melanoma\n", "", "has no line for DEMO_"),
    ("id,melanoma\nISIC_1,0.5\n", "", r"no line for DEMO_\d+.*\(8 in all\), of 8 images"),
    ("ALL,melanoma", "", "none of them an id; say which it is: their.csv:id=COLUMN"),
    ("id,prediction", "", "say which is the score of melanoma, their.csv:melanoma=COLUMN, or"),
    ("id,benign", "", "where it is that of all else, their.csv:benign=COLUMN"),
    ("id,seborrheic_keratosis", ":seborrheic_keratosis=seborrheic_keratosis", "say which is the"),
    ("id,melanoma,mel", "", "columns melanoma, mel; say which one .*csv:melanoma=melanoma"),
    ("id,melanoma,melanoma", "", "the column melanoma twice; keep one"),
    ("id,melanoma", ":melanoma=p", "has no column p; it has id, melanoma"),
    ("id,melanoma", ":per_cent", "'per_cent' says nothing known; expected percent or logits, or"),
    ("id,melanoma", ":melanoma=", "'melanoma=' says nothing known"),
]


@pytest.mark.parametrize(("head", "said", "match"), HOSTILE)
def test_what_is_unclear_is_asked(head, said, match, adopt, tested) -> None:
    width = head.count(",")
    lines = [f"{name}{',0.5' * width}" for name in tested["id"]]
    text = head if "\n" in head else "\n".join([head, *lines])
    with pytest.raises(RunError, match=match):
        adopt(text, said)


@pytest.mark.parametrize(
    ("value", "said", "match"),
    [
        (55.0, "", "numbers from .* to 55; expected .*their.csv:percent or their.csv:logits"),
        (-0.1, "", "numbers from -0.1 to .*or to be told what they are"),
        (155.0, ":percent", "numbers from .* to 155; expected"),
        (np.nan, "", "holds no number in melanoma, .* for DEMO_.*expected one, with a decimal"),
        (np.inf, "", "holds no number in melanoma"),
        ("0,3", "", "holds no number in melanoma"),
        (0.999, "", "probabilities of 1.* together, and a lesion has one .*melanoma=COLUMN"),
    ],
)
def test_numbers_that_are_no_probabilities(value, said, match, adopt, table) -> None:
    table = table.astype({"melanoma": object})
    table.loc[2, "melanoma"] = value
    with pytest.raises(RunError, match=match):
        adopt(table, said)
    if value == 0.999:  # nor as it is submitted
        with pytest.raises(RunError, match="together"):
            adopt(table.drop(columns="benign"), said)
        adopt(table, ":melanoma=melanoma")


def test_ids_twice_or_for_one_image(adopt, table) -> None:
    with pytest.raises(RunError, match=r"several lines for DEMO_\d+; keep one"):
        adopt(pd.concat([table, table.head(1)]))
    twice = pd.concat([table, table.head(1).assign(id=table["id"][0] + ".jpg")])
    with pytest.raises((RunError, DataError), match=r"differ only in spelling|several lines"):
        adopt(twice)


def test_files_that_are_none(demo_set, tmp_path) -> None:
    with pytest.raises(RunError, match=r"gone.csv is not there"):
        others.adopt("gone.csv", ROW, demo_set)
    with pytest.raises(RunError, match=r"notes.txt is no file of predictions; expected .*in .csv"):
        others.adopt("notes.txt", ROW, demo_set)
    (tmp_path / "text.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="no readable csv"):
        others.adopt(str(tmp_path / "text.csv"), ROW, demo_set)


def test_two_files_of_one_name_and_a_folder_of_others(adopt, table, demo_set, tmp_path) -> None:
    adopt(table)
    other = tmp_path / "elsewhere/their.csv"
    other.parent.mkdir()
    table.to_csv(other, index=False)
    with pytest.raises(RunError, match=r"was made of .*give .* another name"):
        others.adopt(str(other), ROW, demo_set)
    mine = tmp_path / "model/others-demo/mine"
    mine.mkdir()
    (mine / "thesis.txt").touch()
    other.rename(other.with_name("mine.csv"))
    with pytest.raises(RunError, match=r"neither empty nor a run folder: it holds thesis.txt"):
        others.adopt(str(other.with_name("mine.csv")), ROW, demo_set)


def test_evaluation_seg_answers_in_a_sentence(demo_set) -> None:
    rows = experiments.of_task("masks")
    with pytest.raises(RunError, match=r"'their.csv' \(predictions of others are for Evaluation-C"):
        logger.find("their.csv", demo_set, rows, notebook="Segmentation.ipynb")


def test_on_own_data_the_classes_are_those_of_the_data(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("utils.system.project.PROJECT", tmp_path)
    folder = own_sets.make(tmp_path / "mine", own_sets.table(64, own_sets.NAMES[:4]), masks=False)
    names = list(data.classes(folder))
    tested = data.read(folder).query("split == 'test'").reset_index(drop=True)
    p = np.random.default_rng(0).dirichlet(np.ones(4), len(tested)) + np.eye(4)[tested["label"]]
    table = tested[["id"]].join(pd.DataFrame(p / 2, columns=names))
    file = tmp_path / "their.csv"
    table.sample(frac=1, random_state=1).to_csv(file, index=False)
    run = others.adopt(str(file), ROW, folder)
    said = results.predictions(run, "test", tested, lambda: pytest.fail("predicted"))
    assert said.columns.tolist() == ["id", "label", *names]
    history = pd.read_csv(run / "history.csv")
    areas = [roc_auc_score(tested["label"] == k, p[:, k]) for k in range(4)]
    assert history["auc_mean"][0] == pytest.approx(np.mean(areas))
    table[["id", *names[:3]]].to_csv(file, index=False)  # of which no one is all that is left
    one = others.adopt(str(file), ROW, folder)
    assert pd.read_csv(one / "predictions-test.csv").columns.tolist() == ["id", "label", names[0]]
    table[["id", names[3]]].to_csv(file, index=False)
    with pytest.raises(RunError, match=rf"which is the score of {names[0]}, .*=COLUMN\.$"):
        others.adopt(f"{file}:{names[3]}={names[3]}", ROW, folder)
