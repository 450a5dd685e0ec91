"""What papermill writes into a log when it executes a notebook for us."""

import io
from types import SimpleNamespace

import nbformat
import pandas as pd

from study import engine, notebooks

CELL = """
print("heading")
display({"text/html": "<b>a table</b>", "text/plain": "a table"}, raw=True)
print("end")
"""


def test_a_table_stands_in_the_log_below_its_heading():
    log = io.StringIO()
    notebook = SimpleNamespace(nb=nbformat.v4.new_notebook())
    client = engine._Client(notebook, stdout_file=log)
    for number in (1, 2):
        client.log_output_message(nbformat.v4.new_output("stream", text=f"heading {number}\n"))
        table = pd.DataFrame({"a": [number]}, index=["row"])
        forms = {"text/html": table.to_html(), "text/plain": repr(table)}
        client.log_output_message(nbformat.v4.new_output("display_data", forms))
    figure = {"image/png": "", "text/plain": "<Figure>"}
    client.log_output_message(nbformat.v4.new_output("display_data", figure))
    assert log.getvalue().splitlines() == [
        "heading 1",
        "     a",
        "row  1",
        "heading 2",
        "     a",
        "row  2",
    ]


def test_a_log_begins_with_what_the_notebook_prints(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # as every job has it
    cells = [nbformat.v4.new_code_cell(CELL, metadata={"tags": ["parameters"]})]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, tmp_path / "a.ipynb")
    notebooks._execute(tmp_path / "a.ipynb", tmp_path / "out.ipynb", {})
    said = capfd.readouterr()
    assert said.out.splitlines() == ["heading", "a table", "end"]
    assert said.err == ""
