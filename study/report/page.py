"""The page of the report: sections of texts, tables and pictures, and one template for all.

The template escapes everything from outside (ids, paths, messages); no HTML is built by hand.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from jinja2 import Environment, StrictUndefined

from study.report.glossary import used

TEMPLATE = Path(__file__).with_name("report.html")
LONG = 24  # letters; a longer word may be broken anywhere
SHORT = 14  # letters; a shorter cell stays on one line
_NUMBER = re.compile(r"[+\-−]?[\d.,]+( ± [\d.]+)?( \[.*\])?( ?(s|MB|GB|%|M|G))?|p .*|<? ?0\.\d+|–|")


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    items: Sequence[str]


@dataclass(frozen=True)
class Links:
    """Links to files beside the page: (title, relative address)."""

    links: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """A table of texts, whose first `heads` columns head the rows.

    A head that is the same as above, like all before it, is shown once; so is a cell of the `quiet`
    columns under the same heads. The last head names the row and is always shown.
    """

    caption: str
    table: pd.DataFrame
    heads: int = 1
    quiet: Sequence[str] = ()

    @property
    def columns(self) -> list[tuple[str, str]]:
        """(name, CSS class) of each column."""
        return [(str(name), self._class(name, at)) for at, name in enumerate(self.table.columns)]

    @property
    def rows(self) -> list[tuple[bool, list[str]]]:
        """(whether another group begins, cells as they are shown)."""
        quiet = [place for place, name in enumerate(self.table.columns) if name in self.quiet]
        rows: list[tuple[bool, list[str]]] = []
        above: tuple[str, ...] = ()
        for cells in self.table.astype(str).itertuples(index=False, name=None):
            same = [cell == other for cell, other in zip(cells, above, strict=False)]
            agree = 0  # heads that are those above
            while above and agree < self.heads - 1 and same[agree]:
                agree += 1
            hidden = set(range(agree))
            if above and agree == self.heads - 1:
                hidden |= {place for place in quiet if same[place]}
            shown = ["" if place in hidden else cell for place, cell in enumerate(cells)]
            rows.append((bool(above) and agree == 0, shown))
            above = cells
        return rows

    def _class(self, name: str, place: int) -> str:
        cells = [str(cell) for cell in self.table[name]]
        if max((len(word) for cell in cells for word in cell.split()), default=0) > LONG:
            return "long"
        if place and all(_NUMBER.fullmatch(cell) for cell in cells):
            return "number"
        return "short" if max(map(len, cells), default=0) <= SHORT else ""


@dataclass(frozen=True)
class Picture:
    """A picture as a data: URI, what it shows in words, and its size in CSS pixels."""

    uri: str
    alt: str
    width: int
    height: int
    caption: str = ""
    wide: bool = False  # keeps a readable size on a phone, and scrolls in its own box


@dataclass(frozen=True)
class Pictures:
    """Small pictures side by side, as many as there is room for."""

    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Fold:
    """Blocks that a reader may open; printed open."""

    summary: str
    blocks: Sequence["Block"]


Block = Text | Items | Links | Table | Picture | Pictures | Fold


@dataclass(frozen=True)
class Section:
    """A part of the page with an address."""

    id: str
    title: str
    blocks: Sequence[Block] = field(default=())


def render(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole page as one text; nothing in it is fetched from anywhere."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    words = used(text for section in sections for text in _texts(section.blocks))
    return template.render(title=title, lead=lead, sections=sections, words=words)


def _texts(blocks: Sequence[Block]) -> Iterator[str]:
    """What is read on the page, but for the texts within pictures."""
    for block in blocks:
        match block:
            case Text():
                yield block.text
            case Items():
                yield from block.items
            case Table():
                yield from (block.caption, *map(str, block.table.columns))
                yield from block.table.astype(str).to_numpy().ravel()
            case Picture():
                yield from (block.caption, block.alt)
            case Pictures():
                yield from _texts(block.pictures)
            case Fold():
                yield block.summary
                yield from _texts(block.blocks)
