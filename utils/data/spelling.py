"""Ids as tables, masks and image files spell them: matched where only one image can be meant.

A spreadsheet may write ISIC_0000001.jpg, a script isic_0000001, macOS the letters of a name in
another Unicode form. What counts is how the image file is named.
"""

import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from utils.system.errors import Fault, listed

ENDINGS = {".jpg", ".jpeg", ".png"}  # of the image files that are read


class Match(NamedTuple):
    """Which image each id means that is not spelled as the image is; and what to say of it."""

    names: dict[str, str]  # the image's name by id
    faults: list[Fault]
    notes: list[Fault]

    def name(self, id_: str) -> str:
        """The id as its image file has it."""
        return self.names.get(id_, id_)


def match(ids: Iterable[str], images: Iterable[str], where: str) -> Match:
    """Find the image that each id means; ids that mean none are passed over.

    where says where the ids stand.
    """
    ids, images = list(ids), set(images)
    if all(id_ in images for id_ in ids):
        return Match({}, [], [])
    called, meant = _by_plain(ids), _by_plain(images)
    names, unclear = {}, []
    for plain, spellings in called.items():
        files = meant.get(plain, [])
        if not files or images.issuperset(spellings):
            continue
        if len(spellings) == len(files) == 1:
            names[spellings[0]] = files[0]
        else:
            unclear.append(f"{' and '.join(spellings)} for {' and '.join(sorted(files))}")
    what = f"ids of {where} that differ in spelling only, so that nothing tells which image is"
    cure = "name each as its image file is named, without the ending, and each once"
    faults = [Fault(f"{what} meant:", cure, unclear)] if unclear else []
    return Match(names, faults, _notes(names, where))


def _notes(names: dict[str, str], where: str) -> list[Fault]:
    if not names:
        return []
    shown = listed(f"{id_} ({name})" for id_, name in names.items())
    what = f"ids of {where} are spelled otherwise than the image files: {shown}"
    return [Fault(what, "the names of the files are used; nothing needs doing")]


def _by_plain(ids: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for id_ in ids:
        found.setdefault(_plain(id_), []).append(id_)
    return found


def _plain(id_: str) -> str:
    """An id without its ending, in small letters, in one Unicode form."""
    plain = unicodedata.normalize("NFC", id_.strip()).casefold()
    return plain.removesuffix(ending) if (ending := Path(plain).suffix) in ENDINGS else plain
