"""The experiments: one frozen row each, a baseline and only what differs from it.

`get("2-2", epochs=50)` gives row 2-2 with 50 epochs. A row says what question it answers, and
carries the published numbers it is compared with. Four profiles give the recipe: "paper" (Zhang et
al., IEEE TMI 2019), "coursework" (its re-implementation by students), "best" (ours) and "demo"
(minutes on a CPU).
"""

from dataclasses import fields, replace
from typing import Any

from experiments.classification import EXCEPTIONS, RECIPES, ROWS, SAME_RUN
from experiments.row import Published, Row

__all__ = ["PROFILES", "ROWS", "SAME_RUN", "Published", "Row", "get", "restore"]

PROFILES = tuple(RECIPES)


def get(name: str, profile: str | None = None, **overrides: Any) -> Row:
    """The row called name, with the profile's recipe and then the overrides that are not None.

    weights "none" means from scratch. A larger image_size raises stored_size with it.
    Raises ValueError for an unknown row, profile, field or value, listing the known ones.
    """
    profile = profile or "best"
    _check("row", name, ROWS)
    _check("profile", profile, PROFILES)
    known = [entry.name for entry in fields(Row)]
    for override in overrides:
        _check("field", override, known)
    changes = RECIPES[profile] | EXCEPTIONS.get((profile, name), {})
    changes |= {key: value for key, value in overrides.items() if value is not None}
    changes = {k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()}
    if changes.get("weights") == "none":
        changes["weights"] = None
    if isinstance(overrides.get("image_size"), int) and "stored_size" not in overrides:
        stored = changes.get("stored_size", ROWS[name].stored_size)
        changes["stored_size"] = max(stored, changes["image_size"])
    return replace(ROWS[name], profile=profile, **changes)


def restore(settings: dict[str, Any]) -> Row:
    """The row that a run's `config.json` holds under "row".

    A field that an older file does not know has its default. Raises ValueError for one that is not
    known any more.
    """
    known = [entry.name for entry in fields(Row)]
    for name in settings:
        if name not in known:
            raise ValueError(
                f"the settings of row {settings.get('name')}, seed {settings.get('seed')}, hold "
                f"{name!r}, which this version does not know: train it again (--resume restart), "
                f"or take the version that made it. The fields are {', '.join(known)}."
            )
    published = tuple(Published(**study) for study in settings.get("published", ()))
    lists = {k: tuple(v) for k, v in settings.items() if isinstance(v, list)}
    return Row(**settings | lists | {"published": published})


def _check(what: str, name: str, known: Any) -> None:
    if name not in known:
        raise ValueError(f"no {what} called {name!r}; the {what}s are {', '.join(known)}.")
