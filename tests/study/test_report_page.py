import re

import pandas as pd

from study.report.page import LONG, Fold, Section, Table, Text, render


def test_heads_and_quiet_cells_are_shown_once() -> None:
    table = pd.DataFrame(
        {
            "row": ["a", "a", "a", "b"],
            "study": ["x", "x", "y", "y"],
            "score": ["1", "1", "1", "1"],
            "list": ["l", "l", "l", "l"],
            "verdict": ["v", "v", "v", "v"],
        }
    )
    assert Table("", table, heads=3, quiet=("list",)).rows == [
        (False, ["a", "x", "1", "l", "v"]),
        (False, ["", "", "1", "", "v"]),
        (False, ["", "y", "1", "l", "v"]),
        (True, ["b", "y", "1", "l", "v"]),
    ]
    # The only head names the row.
    assert [cells[0] for _, cells in Table("", table).rows] == ["a", "a", "a", "b"]


def test_numbers_stand_right_and_long_words_may_be_broken() -> None:
    table = pd.DataFrame(
        {
            "run": ["1", "2"],
            "value": ["0.917 [0.875, 0.955]", "–"],
            "spread": ["+0.9 ± 0.1 [−0.1, +0.2]", "−0.2"],
            "id": ["x" * (LONG + 1), ""],
            "word": ["short", "one"],
            "sentence": ["several words in a row", ""],
        }
    )
    names = [kind for _, kind in Table("", table).columns]
    assert names == ["short", "number", "number", "long", "short", ""]


def test_an_empty_table_is_drawn() -> None:
    page = render("t", "l", [Section("a", "A", [Table("c", pd.DataFrame(columns=["x"]))])])
    assert "<tbody>\n</tbody>" in page


def test_everything_is_escaped() -> None:
    evil = "<i onload='x'>&\"</i>"
    table = Table(evil, pd.DataFrame({evil: [evil]}))
    page = render(evil, evil, [Section("a", evil, [Text(evil), table])])
    assert "<i " not in page
    # Title, heading, lead, contents, section, text, label, caption, column, cell.
    assert page.count("&lt;i onload=&#39;x&#39;&gt;&amp;&#34;&lt;/i&gt;") == 10


def test_the_abbreviations_of_the_page_are_explained_at_its_head() -> None:
    scores = pd.DataFrame({"score": ["SK ACC"], "ECE scaled": ["0.1"]})
    page = render(
        "t", "l", [Section("a", "A", [Text("Both AUCs"), Fold("f", [Table("c", scores)])])]
    )
    head = page[: page.index("<nav")]
    found = re.findall(r"<strong>(.*?)</strong>", head)
    assert found == ["AUC", "M, SK", "ACC", "ECE"]
    assert "seborrheic keratosis" in head
    assert "<strong>" not in render("t", "l", [Section("a", "A", [Text("SPEED of the MARL")])])
