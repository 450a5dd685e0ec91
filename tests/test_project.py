"""The rules that hold the project together: who imports whom, what a notebook may hold."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from ways import COMMANDS, NOTEBOOKS, SCRIPTS

from utils.system.project import PROJECT

PACKAGES = ("bench", "experiments", "nets", "study", "utils")
MODULES = sorted(
    [*SCRIPTS, *(file for name in PACKAGES for file in PROJECT.glob(f"{name}/**/*.py"))]
)
OURS = {*PACKAGES, *COMMANDS}
MAY_IMPORT = {
    "nets": {"nets"},
    "utils": {"utils"},
    "experiments": {"experiments", "utils"},
    "bench": {"bench", "experiments", "nets", "utils"},
    "prepare_data": {"utils"},
    "study": {"experiments", "study", "utils"},
    "reproduce": {"experiments", "study", "utils"},
    "seg_main": {"experiments", "study", "utils"},
    "baselines": {"experiments", "nets", "utils"},
    "predict": {"experiments", "nets", "utils"},
}


def imported(source: str) -> set[str]:
    """First names of all modules that a source imports."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    return names


# Each room may import itself and every room that stands after it here.
ORDER = ("photographs", "visualize", "evaluation", "model", "logger", "data", "system")
ROOMS = {room: {room, *ORDER[place:]} for place, room in enumerate(ORDER)}
ROOMS |= {"loss": {"loss"}, "fetching": {"fetching", "data", "system"}}
# It stands above the rooms, which get its functions as arguments.
MAY_TASK = {"data", "evaluation", "loss", "model", "system"}


def rooms_of(source: str) -> set[str]:
    """Rooms of `utils` that a source imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "utils":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("utils."):
            found.add(node.module.split(".")[1])
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_below_it(room: str) -> None:
    files = sorted((PROJECT / "utils" / room).glob("*.py"))
    assert files
    for file in files:
        assert rooms_of(file.read_text(encoding="utf-8")) <= ROOMS[room], file.name


def test_every_module_of_utils_is_in_a_room() -> None:
    folders = {file.parent.name for file in (PROJECT / "utils").glob("*/*.py")}
    assert folders == {*ROOMS}
    assert {file.name for file in (PROJECT / "utils").glob("*.py")} == {"__init__.py", "task.py"}
    assert rooms_of((PROJECT / "utils/task.py").read_text(encoding="utf-8")) <= MAY_TASK


def test_no_import_runs_in_a_circle() -> None:
    arrows = {}
    names = {".".join(f.relative_to(PROJECT).with_suffix("").parts): f for f in MODULES}
    for name, file in names.items():
        arrows[name] = {
            place
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom) and node.module
            for place in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
            if place in names and place != name
        }
    while free := [name for name, imports in arrows.items() if not imports & arrows.keys()]:
        for name in free:
            del arrows[name]
    assert not arrows


@pytest.mark.parametrize("room", [*ROOMS])
def test_a_face_hands_on_what_is_there_and_no_module_hides_a_function(room: str) -> None:
    face = importlib.import_module(f"utils.{room}")
    files = {file.stem for file in (PROJECT / "utils" / room).glob("*.py")}
    for name in face.__all__:
        assert hasattr(face, name)
        assert isinstance(getattr(face, name), ModuleType) == (name in files), name


@pytest.mark.parametrize(
    "code",
    [
        "from utils import data; data.read; data.locate",
        "from utils import task; task.TASKS; from utils import evaluation; evaluation.summary; "
        "evaluation.results; evaluation.trust",
        "import study.report; study.report.write; import study.report.figures, study.report.trust",
    ],
)
def test_reading_a_set_or_a_result_loads_no_torch(code: str) -> None:
    command = [sys.executable, "-c", f"import sys; {code}; print('torch' in sys.modules)"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_training_notebook_loads_nothing_slow_that_it_does_not_use() -> None:
    """Together these would take longer than all figures and scores of a short run."""
    slow = {"torchvision", "timm", "captum", "seaborn", "scipy.stats", "scipy.optimize", "sklearn"}
    used = (
        "import nets; nets.build('arl14', weights=None); "
        "from utils import data, evaluation, loss, model, visualize; "
        "data.TrainingPatches; data.TestViews; evaluation.results; evaluation.score_files; "
        "evaluation.score_tables; evaluation.ranking; loss.build; model.fit; model.attention_use; "
        "visualize.learning_curves; visualize.plain_images; visualize.prediction_gallery"
    )
    command = [sys.executable, "-c", f"import sys; {used}; print({slow} & {{*sys.modules}})"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.name)
def test_a_module_imports_only_what_the_picture_allows(file: Path) -> None:
    place = file.relative_to(PROJECT).with_suffix("").parts[0]
    assert imported(file.read_text(encoding="utf-8")) & OURS <= MAY_IMPORT[place]


def test_nothing_calls_the_report_but_reproduce() -> None:
    users = [
        file.name
        for file in (*MODULES, *NOTEBOOKS)
        if "report" not in file.relative_to(PROJECT).parts
        and re.search(
            r"from study(\.report)?.* import .*report\b|study\.report", file.read_text("utf-8")
        )
    ]
    assert users == ["reproduce.py"]


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.name)
def test_a_module_is_short_enough_to_read_in_one_sitting(file: Path) -> None:
    limit = 200 if file.parent.name == "nets" else 300
    assert len(file.read_text(encoding="utf-8").splitlines()) <= limit


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.name)
class TestNotebookContract:
    def cells(self, file: Path, kind: str) -> list:
        notebook = nbformat.read(file, as_version=4)
        return [cell for cell in notebook.cells if cell.cell_type == kind]

    def test_parameters_are_literals_one_a_line(self, file: Path) -> None:
        first = self.cells(file, "code")[0]
        assert first.metadata.tags == ["parameters"]
        for line in first.source.splitlines():
            name, value = line.split(" = ")
            assert name.isidentifier()
            ast.literal_eval(value)

    def test_teaches_more_than_it_computes(self, file: Path) -> None:
        code = self.cells(file, "code")
        assert len(self.cells(file, "markdown")) >= len(code)
        # The first one holds the parameters, one a line.
        assert max(len(cell.source.splitlines()) for cell in code[1:]) <= 15

    def test_has_no_magic_class_or_output(self, file: Path) -> None:
        for cell in self.cells(file, "code"):
            assert not re.search(r"^\s*[%!]", cell.source, re.MULTILINE)
            tree = ast.parse(cell.source)
            kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
            assert not [node for node in ast.walk(tree) if isinstance(node, kinds)]
            assert not cell.outputs
            assert cell.execution_count is None

    def test_its_streams_take_every_sign_from_the_start(self, file: Path) -> None:
        second = self.cells(file, "code")[1].source
        first = next(line for line in second.splitlines() if not re.match("import|from|$", line))
        assert first == "console.begin()"

    def test_a_network_that_is_trained_has_the_weights_of_its_seed(self, file: Path) -> None:
        """Whichever cells are run again: no other cell leaves one that `fit` would take."""
        built = [c.source for c in self.cells(file, "code") if "\nnet = " in f"\n{c.source}"]
        assert all("model.seed_torch(config.seed)\nnet = " in source for source in built)
        assert bool(built) == (file.name in ("ARL-CNN.ipynb", "Segmentation.ipynb"))

    def test_says_what_it_is_written_in(self, file: Path) -> None:
        metadata = nbformat.read(file, as_version=4).metadata
        assert metadata.kernelspec.name == "python3"
        assert metadata.language_info.file_extension == ".py"


REQUIREMENTS = ("requirements.txt", "requirements-onnx.txt", "requirements-dev.txt")


def test_requirements_are_exact_and_name_no_place() -> None:
    for name in REQUIREMENTS:
        for line in (PROJECT / name).read_text().splitlines():
            assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+|#.*|-r requirements(-onnx)?\.txt", line), line


def test_the_lock_has_every_required_version_with_hashes_and_names_no_place() -> None:
    lock = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", lock.strip())
    locked = {re.match(r"[a-z0-9-]+==\S+", entry)[0] for entry in entries}
    for name in REQUIREMENTS:
        wanted = set(re.findall(r"^[a-z0-9-]+==.+", (PROJECT / name).read_text(), re.M))
        assert wanted <= locked, "a version changed: make lock"
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in lock


def test_one_version_in_all_files() -> None:
    version = re.search(r'^version = "(.+)"', (PROJECT / "pyproject.toml").read_text(), re.M)[1]
    assert f"\nversion: {version}\n" in (PROJECT / "CITATION.cff").read_text()
    changes = re.findall(r"^## (\S+)", (PROJECT / "CHANGELOG.md").read_text(), re.M)
    assert version in changes[:2]
    assert changes[0] in (version, "Unreleased")


def test_tracked_files_name_no_path_of_one_machine() -> None:
    files = subprocess.run(
        ["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if not files:
        pytest.skip("not a git checkout: there is no list of tracked files to look through")
    pattern = re.compile(r"/(?:work|home|root|Users)/\w+")
    for name in files:
        if Path(name).suffix in {".py", ".md", ".ipynb", ".toml", ".txt", ".yml", ""}:
            text = (PROJECT / name).read_text(encoding="utf-8")
            assert not pattern.search(text), name
