"""Ids as tables, masks and image files spell them, matched where only one image can be meant.

A spreadsheet may write ISIC_0000001.jpg, a script isic_0000001, macOS another Unicode form. The
name of the image file is the one that counts.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from utils.system.errors import Fault, listed

ENDINGS = {".jpg", ".jpeg", ".png"}  # of image files


class Match(NamedTuple):
    """The image meant by each id that is spelled differently, and what to report about it."""

    names: dict[str, str]  # the image's name by id
    faults: list[Fault]
    notes: list[Fault]

    def name(self, id_: str) -> str:
        """The id as its image file spells it."""
        return self.names.get(id_, id_)


def match(ids: Iterable[str], images: Iterable[str], where: str) -> Match:
    """Find the image that each id means; ids that mean none are skipped. where names their source.

    >>> match(["isic_1.jpg"], ["ISIC_1"], "a table").names
    {'isic_1.jpg': 'ISIC_1'}
    """
    ids, images = list(ids), set(images)
    spelled, files = defaultdict(list), defaultdict(list)
    for id_ in ids:
        spelled[_plain(id_)].append(id_)
    for name in images:
        files[_plain(name)].append(name)
    names, unclear = {}, []
    for plain, spellings in spelled.items():
        if plain not in files or images.issuperset(spellings):
            continue
        if len(spellings) == len(files[plain]) == 1:
            names[spellings[0]] = files[plain][0]
        else:
            unclear.append(f"{' and '.join(spellings)} for {' and '.join(sorted(files[plain]))}")
    what = f"ids of {where} that differ only in spelling, so it is unclear which image is meant:"
    cure = "name each as its image file is named, without the ending, and each once"
    faults = [Fault(what, cure, unclear)] if unclear else []
    shown = listed(f"{id_} ({name})" for id_, name in names.items())
    what = f"ids of {where} are spelled differently from the image files: {shown}"
    cure = "the names of the files are used; nothing to do"
    return Match(names, faults, [Fault(what, cure)] if names else [])


def _plain(id_: str) -> str:
    """An id without its ending, in lower case, in one Unicode form."""
    plain = unicodedata.normalize("NFC", id_.strip()).casefold()
    return plain.removesuffix(ending) if (ending := Path(plain).suffix) in ENDINGS else plain
