"""Long work shows that it is alive, in a log, on a terminal and in a notebook."""

import io
import re
import sys
import time
from types import SimpleNamespace

import pandas as pd

from utils.system import console
from utils.system.console import progress


def test_a_log_shows_every_column_of_a_table(capsys):
    wide = pd.DataFrame({f"a column with a long name {k}": [k] for k in range(20)})
    console.show_table(wide)
    said = capsys.readouterr().out
    assert all(name in said for name in wide)


def test_a_kernel_shows_a_table_with_its_whole_text_beside_it(monkeypatch):
    shown = []
    monkeypatch.setattr(console, "in_kernel", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda table: shown.append(repr(table)))
    wide = pd.DataFrame({f"a column with a long name {k}": ["x" * 60] for k in range(30)})
    console.show_table(wide)
    assert all(name in shown[0] for name in wide)
    assert shown[0].count("x" * 60) == 30
    assert len(shown[0].splitlines()) == 2  # nothing is wrapped


def test_lines_are_flushed(tmp_path, monkeypatch):
    with (tmp_path / "nohup.out").open("w", buffering=4096, encoding="utf-8") as out:
        monkeypatch.setattr(sys, "stdout", out)
        console.say("epoch 1")
        said = (tmp_path / "nohup.out").read_text()
        monkeypatch.undo()
    assert said == "epoch 1\n"


def test_a_log_that_is_not_utf_8_takes_every_sign(monkeypatch):
    log = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", log)
    console.begin()
    console.say("α of 漢: 0.001")
    assert log.buffer.getvalue() == b"\\u03b1 of \\u6f22: 0.001\n"


def test_progress_in_a_log_is_plain_lines(capsys, monkeypatch):
    monkeypatch.setattr(console, "LINE_EVERY", 0)
    ticks = iter([0, 10, 20, 30])  # each item takes ten seconds
    monkeypatch.setattr(console.time, "monotonic", lambda: next(ticks))
    assert list(progress("abc", "epoch 1", "batches")) == ["a", "b", "c"]
    monkeypatch.undo()
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "epoch 1: 1/3 batches, 20 s left",
        "epoch 1: 2/3 batches, 10 s left",
        "epoch 1: 3/3 batches, 0 s left",
    ]
    assert captured.err == ""
    assert "\r" not in captured.out


def test_progress_lines_come_every_thirty_seconds(capsys, monkeypatch):
    ticks = iter(range(0, 11 * 10, 11))  # 11 seconds an item
    monkeypatch.setattr(console.time, "monotonic", lambda: next(ticks))
    assert list(progress(range(8), "epoch 1", "batches")) == list(range(8))
    monkeypatch.undo()
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["epoch 1: 3/8 batches, 55 s left", "epoch 1: 6/8 batches, 22 s left"]


def test_progress_of_an_epoch_tells_the_time_of_all(capsys, monkeypatch):
    monkeypatch.setattr(console, "LINE_EVERY", 0)
    ticks = iter([0, 10, 20])  # each item takes ten seconds
    monkeypatch.setattr(console.time, "monotonic", lambda: next(ticks))
    assert list(progress("ab", "epoch 3/15", "batches", more=24)) == ["a", "b"]
    monkeypatch.undo()
    assert capsys.readouterr().out.splitlines() == [
        "epoch 3/15: 1/2 batches, 10 s left, about 4 min left in all",
        "epoch 3/15: 2/2 batches, 0 s left, about 4 min left in all",
    ]


def test_short_work_says_nothing(capsys):
    assert list(progress(range(3), "epoch 1")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_progress_without_a_known_length(capsys, monkeypatch):
    monkeypatch.setattr(console, "LINE_EVERY", 0)
    assert list(progress(iter("ab"), "download", "files")) == ["a", "b"]
    assert capsys.readouterr().out == "download: 1 files\ndownload: 2 files\n"
    assert list(progress(iter("ab"), "download", "files", total=2)) == ["a", "b"]
    assert "download: 1/2 files, " in capsys.readouterr().out


def test_progress_is_lazy():
    items = progress(iter([1, 2, 1 / 3]), "work")
    assert next(items) == 1
    items.close()
    assert list(progress([], "nothing")) == []


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_is_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(console, "LINE_EVERY", 0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(progress("abc", "epoch 1", "batches")) == ["a", "b", "c"]
    drawn = sys.stderr.getvalue()
    assert "epoch 1" in drawn
    assert "/3 [" in drawn
    assert capsys.readouterr().out == ""


def test_the_bar_of_an_epoch_tells_the_time_of_all(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    slow = (time.sleep(0.12) for _ in range(2))  # a bar draws itself ten times a second
    assert len(list(progress(slow, "epoch 1/50", "batches", total=2, more=98))) == 2
    assert re.search(r"1/2 \[.*, about \d\d s left in all\]", sys.stderr.getvalue())


def test_progress_bar_of_a_notebook_is_for_those_who_look(monkeypatch):
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(kernel=1))
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert not console.in_live_jupyter()  # papermill, nbconvert --execute
    monkeypatch.setenv("JPY_SESSION_NAME", "ARL-CNN.ipynb")
    assert console.in_live_jupyter()
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    monkeypatch.setitem(sys.modules, "ipykernel", sys)  # as papermill does
    assert not console.in_live_jupyter()  # a script started from a notebook's terminal
