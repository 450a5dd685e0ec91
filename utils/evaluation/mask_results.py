"""Scores of a finished segmenter: computed once, written, read ever after."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from utils.evaluation import published
from utils.evaluation.counts import Counts
from utils.evaluation.full_size import MaskSettings, Result, counts_of, mask_name
from utils.evaluation.mask_scores import CONVENTIONS, segmentation_scores
from utils.evaluation.masks import METRICS, TABLE_NAMES, THRESHOLD
from utils.evaluation.paired import jaccard_difference
from utils.logger.run import RunFolder
from utils.system.errors import RunError, listed

_IMAGE = ("id", "width", "height", *Counts._fields, *METRICS)
_THRESHOLD = ("id", "threshold", *Counts._fields)


def results(
    run: RunFolder,
    split: str,
    rows: pd.DataFrame,
    evaluate: Callable[[], Result],
    masks_to: Path | None = None,
) -> Result:
    """The counts and scores of each image of the rows; evaluate() runs only if need be.

    What `per-image-<split>.csv` and `thresholds-<split>.csv` hold already is read, unless
    evaluate() is to write masks into masks_to, too, and one of them is not there. Raises RunError
    when a table is damaged or was made for other images.
    """
    files = [run / f"{name}-{split}.csv" for name in ("per-image", "thresholds")]
    masks = [] if masks_to is None else [masks_to / mask_name(name) for name in rows["id"]]
    if not all(file.exists() for file in [*files, *masks]):
        for file, table in zip(files, evaluate(), strict=True):
            run.save_table(file.name, table)
    # Read even if it was made just now: a second run sees the same.
    per_image, thresholds = map(_read, files, (_IMAGE, _THRESHOLD))
    for file, table in zip(files, (per_image, thresholds), strict=True):
        if strange := sorted(set(table["id"]) ^ set(rows["id"])):
            raise RunError(
                f"{file} was made for other images; only on one side: {listed(strange)}. " + _CURE
            )
    if twice := sorted(set(per_image["id"][per_image["id"].duplicated()])):
        raise RunError(f"{files[0]} holds ids twice: {listed(twice)}. {_CURE}")
    return Result(per_image.set_index("id").loc[rows["id"]].reset_index(), thresholds)


_CURE = "Remove that file to predict again, or train the run again (resume='restart')."


def _read(file: Any, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        table = pd.read_csv(file, converters={"id": str})  # "NA" is an id, too
    except ValueError as error:  # empty, or no table
        raise RunError(f"{file} is damaged ({error}). {_CURE}") from error
    if tuple(table.columns) != columns or table.isna().any(axis=None):
        raise RunError(
            f"{file} is damaged: expected the columns {', '.join(columns)}, none of them empty; "
            f"found {listed(table.columns)}, {int(table.isna().sum().sum())} empty. {_CURE}"
        )
    return table


def scores(
    run: RunFolder, split: str, per_image: pd.DataFrame, note: str, how: MaskSettings
) -> dict[str, Any]:
    """Scores with 95 % intervals in all conventions, written to `scores-<split>.json`.

    per_image as `results` gives it, made as how says; note names the data ("synthetic demo data",
    "ISIC 2017"). split may say more: "validation-8-views" is the validation split.
    """
    row = run.config.get("row", {})
    found = {"data": note, "split": split.split("-")[0], "selected_on": row.get("select_on", "")}
    found |= {"test_image": row.get("test_image", "whole"), "views": how.views}
    found |= {"threshold": how.threshold, "clean_up": how.clean_up}
    found |= segmentation_scores(counts_of(per_image))
    run.save_json(f"scores-{split}.json", found)
    return found


def summary(found: dict[str, Any]) -> str:
    """The official scores of a score file with their intervals, under the data's name."""
    way = f", {found['views']} views" * (found["views"] > 1) + ", cleaned up" * found["clean_up"]
    lines = [f"{found['data']}, {found['split']} split{way}, {found['n']} images, 95 % intervals:"]
    for name, words in (
        ("jaccard", "Jaccard"),
        ("dice", "Dice"),
        ("threshold_jaccard", "threshold Jaccard"),
    ):
        score = found["official"][name]
        text = f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
        lines.append(f"  mean {words}: {text}")
    if found["selected_on"] == found["split"]:
        lines.append("  the epoch was chosen on these very images: the scores flatter")
    return "\n".join(lines)


def comparison(found: dict[str, Any], row: Any) -> pd.DataFrame:
    """Ours above each published study, each in its own convention only.

    found: the content of scores-<split>.json; row: the experiment. Rows are named by convention
    and source, columns ACC SE SP JSI DSC TJI as texts, and "trained on". On synthetic data ours
    stand alone.
    """
    ours = f"this run ({found['data']}, {found['split']})"
    trained = published.trained_on(found, row.train_list)
    synthetic = published.reason(found) == published.SYNTHETIC
    lines = []
    for convention in ("coursework", "official"):
        studies = [study for study in row.published if study.convention == convention]
        if not studies:
            continue
        cells = {name: score["value"] for name, score in found[convention].items()}
        lines.append((CONVENTIONS[convention], ours, cells, trained))
        for study in () if synthetic else studies:
            lines.append((CONVENTIONS[convention], study.source, study.scores, study.training_list))
    index = pd.MultiIndex.from_tuples([line[:2] for line in lines], names=["convention", "source"])
    table = pd.DataFrame([_texts(line[2]) for line in lines], index=index)
    return table.assign(**{"trained on": [line[3] for line in lines]})


def _texts(values: dict[str, float]) -> dict[str, str]:
    return {
        short: f"{values[name]:.4f}" if name in values else ""  # as many digits as were printed
        for name, short in TABLE_NAMES.items()
    }


def points(found: dict[str, dict[str, Any]], rows: dict[str, Any]) -> pd.DataFrame:
    """Official scores of several runs, then the published ones; a row a point of a forest plot.

    found: contents of scores-<split>.json, rows: experiments, both by the run's name. Columns run,
    metric, value, low, high (nan where published), published. Published are those that are
    comparable (`published.reason`).
    """
    shown = {"jaccard": "Jaccard", "dice": "Dice", "sensitivity": "sensitivity"}
    table = [
        {"run": run, "metric": title, **entry["official"][name], "published": False}
        for run, entry in found.items()
        for name, title in shown.items()
    ]
    table += [
        {"run": study.source, "metric": title, "value": study.scores[name], "published": True}
        for study in published.comparable(found, rows)
        if study.convention == "official"
        for name, title in shown.items()
        if name in study.scores
    ]
    columns = ["run", "metric", "value", "low", "high", "published"]
    return pd.DataFrame(table, columns=columns).astype({"low": float, "high": float})


def differences(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Each run minus the first one, official mean Jaccard on the same images, a row a further run.

    tables: per-image results by the run's name, at least two. Cells as "+0.021 [-0.004, +0.047]".
    """
    (_, base), *others = tables.items()
    lines = {}
    for name, table in others:
        same = table.set_index("id").loc[base["id"]].reset_index()
        found = jaccard_difference(counts_of(same), counts_of(base))
        better = int((same["jaccard"].to_numpy() > base["jaccard"].to_numpy()).sum())
        lines[name] = {
            "mean Jaccard": f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]",
            "better on": f"{better} of {len(base)} images",
        }
    return pd.DataFrame.from_dict(lines, orient="index")


def ranked(per_image: pd.DataFrame, count: int = 4) -> dict[str, pd.DataFrame]:
    """The images with the best, the middle and the worst Jaccard, `count` of each at most.

    No image is in two of them; of fewer than three images only the first groups have one.
    """
    table = per_image.sort_values(["jaccard", "id"], ascending=[False, True], kind="stable")
    count = max(1, min(count, len(table) // 3))
    best, rest = table.head(count), table.iloc[count:]
    if len(rest) <= count:
        return {"best": best, "median": rest, "worst": rest.iloc[:0]}
    first = (len(rest) - 2 * count) // 2
    return {
        "best": best,
        "median": rest.iloc[first : first + count],
        "worst": rest.tail(count).iloc[::-1],
    }


def failures(per_image: pd.DataFrame, least: float = THRESHOLD) -> pd.DataFrame:
    """The images below the challenge's threshold of 0.65, the worst first."""
    table = per_image[per_image["jaccard"] < least]
    return table.sort_values(["jaccard", "id"], kind="stable")
