"""The answers as HTML: a page that needs nothing else, and single cards for a notebook.

The page is written line by line, so that thousands of photos take no more memory than one. The
pictures of the first `INLINE` are within it; the others are links to the files beside it.
"""

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from utils.evaluation import fitting
from utils.photographs.answers import CAUTION, Models
from utils.photographs.record import Record
from utils.system.files import write_atomic

INLINE = 200
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write(record: Record, models: Models) -> Path:
    """Write `index.html` beside the table; returns its path."""
    page = _TEMPLATES.get_template("page.html").stream(
        cards=_cards(record, models), said=said_of(models), caution=CAUTION, inline=INLINE
    )
    path = record.folder / "index.html"
    write_atomic(path, lambda file: page.dump(file, encoding="utf-8"))
    return path


def cards_of(record: Record, models: Models, photos: set[str]) -> str:
    """The cards of some photos, by their names in the table, as HTML for a notebook."""
    chosen = list(_cards(record, models, photos))
    template = _TEMPLATES.get_template("notebook.html")
    return template.render(cards=chosen, said=said_of(models), caution=CAUTION)


def said_of(models: Models) -> list[str]:
    """What a reader should know of the numbers, a sentence each."""
    said = [
        f"{name}: {one.experiment.network}, row {one.experiment.name}, profile "
        f"{one.experiment.profile}, trained on "
        f"{one.run.config.get('data', {}).get('set', 'unknown images')}."
        for name, one in models.runs.items()
    ]
    for name, one in models.classifiers.items():
        fitted = "not calibrated: there are no unseen images that determine a temperature"
        if one.temperature is not None:
            basis = fitting.predictions(one.run, one.experiment)
            fitted = f"calibrated with {basis.said(one.temperature)}"
        said.append(f"Probabilities of {name}: as they are, and {fitted}.")
    if len(models.classifiers) > 1:
        said.append("Probabilities are the means over these classifiers.")
    if measure := models.measure:
        name, known = measure
        said.append(
            f"Distance from the training images, by {name}, 1 being the threshold: {known.said}."
        )
    else:
        said.append(
            "How unlike the training images a photo is, was not measured: these runs do not know "
            "their features; python predict.py --learn-features RUN writes them, where the "
            "training images are."
        )
    if models.segmenters:
        said.append(
            "Area: pixels of the mask. Diameter: the greatest distance between two of them. Both "
            "in pixels of the photo; nothing says how many millimetres a pixel is."
        )
    return said


def _cards(
    record: Record, models: Models, photos: set[str] | None = None
) -> Iterator[dict[str, Any]]:
    number = 0
    for line in record.lines():
        if photos is None or line["photo"] in photos:
            yield _card(record.folder, line, models, inline=number < INLINE)
            number += 1


def _card(folder: Path, line: Mapping[str, str], models: Models, inline: bool) -> dict[str, Any]:
    """What the template shows of a line."""
    files = {
        name.partition(".")[0]: f"pictures/{line['pictures']}-{name}"
        for name in ("photo.jpg", "cam.jpg", "outline.jpg", "mask.png")
        if (folder / "pictures" / f"{line['pictures']}-{name}").is_file()
    }
    shown = {"photo": "the photo", "cam": f"what spoke for {_said(line, models)}"}
    if "mask" in files:
        shown["photo"] = "the photo and the outline of the predicted mask"
    pictures = [(_inline(folder / files[n]), text) for n, text in shown.items() if n in files]
    chances = [
        (
            name.replace("_", " "),
            *(_number(line[f"{kind}_{name}"]) for kind in ("p", "calibrated_p")),
        )
        for name in models.classes
        if line[f"p_{name}"]
    ]
    return {
        "line": line,
        "name": Path(line["photo"]).name,
        "place": Path(line["photo"]).parent.name,
        "pictures": pictures if inline else [],
        "links": [(name, quote(path)) for name, path in files.items()],
        "chances": chances,
        "distance": _number(line["distance"]),
        "diameter": _number(line.get("diameter_px", "")),
    }


def _said(line: Mapping[str, str], models: Models) -> str:
    """The answer: the most probable class, or of melanoma alone whether it is more probable."""
    chances = {name: float(line[f"p_{name}"] or 0) for name in models.classes}
    if len(chances) == 1:
        chances["the rest"] = 1 - sum(chances.values())
    return max(chances, key=chances.__getitem__, default="").replace("_", " ")


def _number(text: str) -> float | None:
    return float(text) if text else None


def _inline(file: Path) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(file.read_bytes()).decode()
