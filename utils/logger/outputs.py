"""The folder of an evaluation's figures and tables, beside the first of its runs."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from utils.logger.folders import forget_evaluation
from utils.logger.run import RunFolder
from utils.system.files import write_table


class Outputs(RunFolder):
    """The folder of an evaluation; its tables are for people, not for other code."""

    def save_table(self, name: str, table: pd.DataFrame) -> Path:
        """Write a table as csv in which no text is a formula; returns its path."""
        write_table(self.path / name, table)
        return self.path / name


def folder_of(runs: Iterable[RunFolder], name: str) -> Path:
    """The folder of the evaluation called name, which need not exist."""
    return next(iter(runs)).path.parent / name


def begin(runs: Iterable[RunFolder], name: str) -> Outputs:
    """That folder, cleared of an earlier evaluation, perhaps of other runs."""
    folder = folder_of(runs, name)
    forget_evaluation(folder)
    return Outputs(folder)
