"""Numbers in the sentences of RESULTS.md, from the runs that are kept in docs/runs."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from study import archive
from utils.evaluation.ensembles import averaged
from utils.evaluation.paired import paired_difference
from utils.system.files import read_table

KEPT = archive.ARCHIVE / "isic2017-light"
TEXT = " ".join(archive.RESULTS.read_text(encoding="utf-8").replace("−", "-").split())
TEAM = ("3-1", "3-2", "3-3", "0-2", "0-4")
# The lines of the table of ensembles in docs/recipes.md.
MEMBERS = (
    ("3-1",), ("3-1", "3-2"), ("3-1", "3-2", "3-3"), ("3-1", "0-2"), ("3-1", "3-2", "0-2"),
    ("3-1", "3-2", "0-2", "0-4"), TEAM,
)  # fmt: skip


def areas(
    members: tuple[str, ...], average: str = "logits", kind: str = "", folds: int = 5
) -> np.ndarray:
    """Mean AUC of an ensemble in each of the first folds, by chance or by kind "series-"."""
    found = []
    for fold in range(1, folds + 1):
        names = [f"{row}-{kind}f{fold}-s0/predictions-fold.csv" for row in members]
        tables = [read_table(KEPT / name).set_index("id").sort_index() for name in names]
        label = tables[0]["label"]
        p = averaged([table.drop(columns="label").to_numpy() for table in tables], average)
        found.append(np.mean([roc_auc_score(label == k, p[:, k]) for k in (0, 1)]))
    return np.array(found)


@pytest.mark.parametrize(
    ("members", "said"),
    [(("3-1", "0-2"), "[-0.001, +0.022] for `informed`"), (TEAM, "[+0.013, +0.020] for `team`")],
)
def test_the_interval_over_the_folds(members: tuple[str, ...], said: str) -> None:
    gains = areas(members) - areas(("3-1",))
    ends = stats.t.interval(0.95, 4, gains.mean(), stats.sem(gains))
    assert said.startswith(f"[{ends[0]:+.3f}, {ends[1]:+.3f}]")
    assert said in TEXT


def test_age_and_sex_help_on_folds_by_series_too() -> None:
    gains = areas(("3-1", "0-2"), kind="series-") - areas(("3-1",), kind="series-")
    assert (gains > 0).all()
    assert "On folds by series it is ahead again, in five of five" in TEXT
    kept = areas(("informed",), kind="series-")
    np.testing.assert_allclose(kept, areas(("3-1", "0-2"), kind="series-"), atol=1e-6)


def test_attention_on_resnets_changes_little_in_the_folds_that_are_trained() -> None:
    pairs = zip(areas(("1-3",), folds=3), areas(("4-1",), folds=3), strict=True)
    said = [f"{one:.3f} and {other:.3f}" for one, other in pairs]
    assert f"with mean AUCs of {said[0]}, of {said[1]}, and of {said[2]}." in TEXT
    attending, plain, frozen = (
        pd.concat([read_table(KEPT / f"{row}-f{k}-s0/predictions-fold.csv") for k in (1, 2, 3)])
        for row in ("1-3", "4-1", "0-4")
    )
    change = paired_difference(attending, plain, resamples=2000)
    assert f"is {change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]." in TEXT
    lead = paired_difference(frozen, plain, resamples=2000)
    assert f"4-1 by {lead.value:.3f} [{lead.low:.3f}, {lead.high:.3f}]" in TEXT


def test_the_ensemble_that_four_folds_choose_is_as_good_on_the_fifth() -> None:
    every = {(m, a): areas(m, a) for m in MEMBERS for a in ("probabilities", "logits")}
    for fold in range(5):
        assert max(every, key=lambda one: np.delete(every[one], fold).mean()) == (TEAM, "logits")
    assert "chosen on four folds each time, `team` by logits wins in all five" in TEXT


def test_masks_are_as_large_as_the_true_ones_and_smaller_on_validation() -> None:
    folds = pd.concat(
        [pd.read_csv(KEPT / f"seg-6-f{k}-s0/per-image-fold.csv") for k in range(1, 6)]
    )
    whole = pd.read_csv(KEPT / "seg-6-s0/per-image-validation.csv")
    shares = [(t["tp"] + t["fp"]).sum() / (t["tp"] + t["fn"]).sum() for t in (folds, whole)]
    said = "their pixels together are {:.2f} of the true ones ({:.2f} on the validation split)"
    assert said.format(*shares) in TEXT
