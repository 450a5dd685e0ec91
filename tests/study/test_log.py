"""What papermill writes into a log when it executes a notebook for us."""

import nbformat

from study import notebooks

CELL = """
print("heading")
display({"text/html": "<b>a table</b>", "text/plain": "a table"}, raw=True)
display({"image/png": "", "text/plain": "<Figure>"}, raw=True)
print("end")
"""


def test_a_log_holds_what_the_notebook_prints_and_its_tables(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # as every job has it
    cells = [nbformat.v4.new_code_cell(CELL, metadata={"tags": ["parameters"]})]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, tmp_path / "a.ipynb")
    notebooks._execute(tmp_path / "a.ipynb", tmp_path / "out.ipynb", {})
    said = capfd.readouterr()
    assert said.out.splitlines() == ["heading", "a table", "end"]
    assert said.err == ""
