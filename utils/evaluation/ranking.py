"""Which images are worth a look: the most confident, the least certain, the best and the worst.

Tables of predictions and per-image results are those of `evaluation.results`.
"""

import numpy as np
import pandas as pd

from utils.evaluation.labels import both_answers, classes_in
from utils.evaluation.masks import THRESHOLD


def telling_cases(predictions: pd.DataFrame, each: int = 4) -> pd.DataFrame:
    """The most confident right answers, alternating between the classes, then the wrong ones."""
    sure = _judged(predictions).sort_values("sureness", ascending=False, kind="stable")
    sure["turn"] = sure.groupby(["right", "label"]).cumcount()
    right = sure[sure["right"]].sort_values("turn", kind="stable").head(each)
    cases = pd.concat([right, sure[~sure["right"]].head(each)], ignore_index=True)
    return cases[predictions.columns]


def confident_mistakes(predictions: pd.DataFrame, each: int | None = None) -> pd.DataFrame:
    """The wrong answers, the most probable first; all of them, or `each` at most.

    Wrong means that the most probable class is not the true one. Additional columns: predicted
    (such as "benign", or "the rest" where only melanoma has a column) and sureness, the probability
    of that answer.
    """
    judged = _judged(predictions)
    wrong = judged[~judged["right"]].sort_values("sureness", ascending=False, kind="stable")
    return wrong[:each].reset_index(drop=True)[[*predictions.columns, "predicted", "sureness"]]


def least_certain(predictions: pd.DataFrame, each: int | None = None) -> pd.DataFrame:
    """All cases, right or wrong, the least certain first.

    As `confident_mistakes`, with the column margin, the two highest probabilities' difference.
    """
    close = _judged(predictions).sort_values("margin", kind="stable")
    return close[:each].reset_index(drop=True)[[*predictions.columns, "predicted", "margin"]]


def ranked(per_image: pd.DataFrame, count: int = 4) -> dict[str, pd.DataFrame]:
    """The images with the best, the median and the worst Jaccard, at most `count` of each.

    No image is in two groups; with fewer than three images the last groups are empty.
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


def _judged(predictions: pd.DataFrame) -> pd.DataFrame:
    """The table with predicted, sureness, margin, and whether the answer is right."""
    names = classes_in(predictions)
    probabilities = both_answers(predictions[names].to_numpy())
    # With one logit the second class is the rest.
    names = [name.replace("_", " ") for name in names] if len(names) > 1 else [*names, "the rest"]
    truth = predictions["label"].clip(upper=len(names) - 1).to_numpy()
    answer = probabilities.argmax(axis=1)
    second, first = np.sort(probabilities, axis=1)[:, -2:].T
    return predictions.assign(
        predicted=[names[number] for number in answer],
        sureness=first,
        margin=first - second,
        right=answer == truth,
    )
