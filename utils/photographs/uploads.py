"""Photos in an evaluation: those that a parameter names, or that a person chooses."""

import hashlib
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from IPython.display import HTML, display

from utils.photographs import pages
from utils.photographs.answers import CAUTION, Models
from utils.photographs.record import name_of
from utils.photographs.work import Outcome, predict
from utils.system.console import in_kernel, in_live_jupyter, say
from utils.system.errors import listed
from utils.system.files import write_atomic

SHOWN = 20  # photos in a notebook; the page has all


def ask(photos: Sequence[Path] | None, models: Models, folder: Path) -> None:
    """Answer the photos; without any, show a button to choose some, or say how to name them.

    The table, the page and the pictures go into the folder. Errors as of `work.predict`.
    """
    if photos is not None:
        show(predict(photos, models, folder), models)
    elif in_live_jupyter():
        display(_box(models, folder))
    else:
        say("photos = None: name a photo, a folder or a list of them, and the first run answers.")


def show(outcome: Outcome, models: Models) -> None:
    """The answers as cards in a notebook, else as lines; then where all of it is."""
    names = {name_of(path) for path in outcome.photos[:SHOWN]}
    if in_kernel():
        display(HTML(pages.cards_of(outcome.record, models, names)))
    else:
        for line in outcome.record.lines():
            if line["photo"] in names and not line["error"]:
                say(in_words(line, models))
        say(CAUTION)
    for fault in outcome.faults:
        say(f"not used: {fault}")
    shown = f" (the first {SHOWN} above)" if len(outcome.photos) > SHOWN else ""
    photos = "photo" if len(outcome.photos) == 1 else "photos"
    say(f"{len(outcome.photos)} {photos}{shown}; the page: {outcome.page}")


def in_words(line: Mapping[str, str], models: Models) -> str:
    """A line of the table in words."""
    words = []
    for name in models.classes:
        calm = line[f"calibrated_p_{name}"]
        calibrated = f" (calibrated {float(calm):.3f})" if calm else ""
        words.append(f"{name.replace('_', ' ')} {float(line[f'p_{name}']):.3f}{calibrated}")
    if models.segmenters:
        words.append(f"lesion of {line['area_px']} px, {float(line['diameter_px']):.0f} px across")
    if line["unlike"] == "yes":
        words.append(f"UNLIKE the training images (distance {float(line['distance']):.2f})")
    return f"{Path(line['photo']).name}: {', '.join(words)}"


def _box(models: Models, folder: Path) -> Any:
    """A button that takes files, and below it what is said of them."""
    import ipywidgets as widgets  # needs a kernel whose front end knows widgets

    button = widgets.FileUpload(accept="image/*", multiple=True, description="choose photos")
    runs = listed(models.runs)
    about = f"{CAUTION} {runs} answers; the photos stay on this machine, in {folder}."
    text, area = widgets.HTML(html.escape(about)), widgets.Output()

    def answered(_: dict) -> None:
        if not button.value:
            return
        paths = [_kept(one["name"], bytes(one["content"]), folder) for one in button.value]
        with area:
            area.clear_output()
            show(predict(paths, models, folder), models)

    button.observe(answered, "value")
    return widgets.VBox([text, button, area])


def _kept(name: str, content: bytes, folder: Path) -> Path:
    """A chosen file, in a folder named after its content: the same name may come again."""
    chosen = folder.with_name(f"{folder.name}-chosen")
    place = chosen / hashlib.sha256(content).hexdigest()[:8]
    write_atomic(place / Path(name).name, content)
    return place / Path(name).name
