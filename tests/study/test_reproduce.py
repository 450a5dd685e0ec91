"""The command line of the whole study, with notebooks that do not really run."""

import ast
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import reproduce
from study import ensembles, executors, notebooks, outcome, report, schedule, work
from study.jobs import Job
from utils import data, logger
from utils.system import machine
from utils.system.project import PROJECT


class Trains:
    """Does what a training notebook does to its folder; some rows fail."""

    def __init__(self, _logs: Path, _threads: int, _cards: list[str]) -> None:
        self.log = _logs / "all.log"

    broken: tuple[str, ...] = ()
    seen: list[Job] = []  # noqa: RUF012

    def submit(self, job: Job) -> "Ended":
        self.seen.append(job)
        self.log.write_text("first line\nValueError: no such image\n")
        broken = job.name in self.broken
        if not broken and "experiment" in job.parameters:
            wanted = (job.parameters["experiment"], job.parameters["profile"])
            network = job.parameters.get("network")
            experiment = reproduce.experiments.get(*wanted, network=network)
            run = logger.start_run(job.folder, experiment, {"fingerprint": "x", "set": "demo"})
            for name in ("last.pt", f"predictions-{experiment.select_on}.csv", "run.html"):
                (run / name).touch()
            scores = {"data": "d", "split": "test", "n": 1, "official": {}}
            run.save_json("scores-test.json", scores)
            run.remember("finished", True)
        elif not broken:
            job.folder.mkdir(parents=True, exist_ok=True)
            for name in ("run.html", "scores.csv"):
                (job.folder / name).write_text("evaluated")
        return Ended(self.log, broken)


class Ended:
    """A job that has ended as soon as it was started."""

    def __init__(self, log: Path, broken: bool) -> None:
        self.log, self.broken = log, broken

    def failed(self) -> bool:
        return self.broken


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """A project in a folder of its own; returns what the report was asked for."""
    asked: list[dict] = []

    def write(runs, _data_dir, split, failed, pages, same):
        folder = next(iter(runs.values())).path.parent
        asked.append({"runs": list(runs), "split": split, "failed": failed, "folder": folder})
        asked[-1] |= {"pages": pages, "same": same}
        return folder / "index.html"

    monkeypatch.setattr("utils.system.project.PROJECT", tmp_path)
    monkeypatch.setattr(schedule, "POLL", 0.0)
    monkeypatch.setattr(executors, "LocalExecutor", Trains)
    monkeypatch.setattr(report, "write", write)
    Trains.seen, Trains.broken = [], ()
    return asked


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        reproduce.main([*arguments, "--profile", "demo"])
    return ended.value.code


HEAVY = {"torch", "pandas", "matplotlib", "papermill", "scipy", "sklearn"}


@pytest.mark.parametrize(
    "command", ["reproduce.py", "seg_main.py", "baselines.py", "bench/__main__.py"]
)
def test_help_waits_for_nothing_heavy(command: str) -> None:
    code = (
        "import runpy, sys\nsys.argv[1:] = ['--help']\n"
        f"try: runpy.run_path({command!r}, run_name='__main__')\n"
        "except SystemExit: print(sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert "usage: " in done.stdout
    assert not HEAVY & set(ast.literal_eval(done.stdout.splitlines()[-1]))


def test_rows_then_evaluations_then_the_report(study, demo_set, tmp_path, capsys) -> None:
    assert call("1-3", "seg-6", "2-4", "--data-dir", str(demo_set)) == 0
    assert [job.name for job in Trains.seen] == [
        "1-3-s0",
        "seg-6-s0",
        "evaluation-cls-test",
        "evaluation-seg-test",
    ]
    assert Trains.seen[2].parameters["runs"] == [str(tmp_path / "model/demo-demo/1-3-s0")]
    (asked,) = study
    assert asked["runs"] == ["1-3-s0", "seg-6-s0"]
    assert asked["same"] == {"2-4-s0": "1-3-s0"}
    assert [page.read_text() for page in asked["pages"].values()] == ["evaluated"] * 2
    assert (tmp_path / "model/demo-demo/evaluation-cls-test/scores.csv").exists()
    assert "report: " in capsys.readouterr().out


def test_a_kind_is_evaluated_as_soon_as_none_of_it_is_left(study, demo_set) -> None:
    Trains.broken = ("2-1-s0",)
    rows = ("seg-6", "1-3", "2-1")
    assert call(*rows, "--jobs", "1", "--data-dir", str(demo_set)) == 1
    assert [job.name for job in Trains.seen] == [
        "seg-6-s0",
        "evaluation-seg-test",
        "1-3-s0",
        "2-1-s0",
        "evaluation-cls-test",
    ]
    assert Trains.seen[-1].parameters["runs"] == [str(study[0]["folder"] / "1-3-s0")]


def test_baselines_are_made_by_their_script_and_are_what_networks_are_beside(
    study, demo_set
) -> None:
    rows, data_dir = ("0-2", "1-3", "seg-0-1"), str(demo_set)
    assert call(*rows, "--data-dir", data_dir, "-p", "epochs", "3", "--jobs", "1") == 0
    made, trained, of_masks = Trains.seen[:3]
    assert (made.name, trained.name, of_masks.name) == ("0-2-s0", "1-3-s0", "seg-0-1-s0")
    assert made.notebook == of_masks.notebook == Path("baselines.py")
    assert (trained.parameters["epochs"], made.epochs) == (3, 1)
    assert "epochs" not in made.parameters  # it is about training
    folder = study[0]["folder"]
    evaluated = {job.name: job.parameters["runs"] for job in Trains.seen[3:]}
    assert evaluated == {
        "evaluation-cls-test": [str(folder / "1-3-s0")],
        "evaluation-seg-test": [str(folder / "seg-0-1-s0")],  # as no network is there
    }
    assert study[0]["runs"] == ["0-2-s0", "1-3-s0", "seg-0-1-s0"]


@pytest.mark.usefixtures("study")
def test_a_baseline_learns_from_as_few_images_as_its_network(demo_set) -> None:
    few = ("-p", "train_images", "12", "--no-evaluation", "--data-dir", str(demo_set))
    assert call("0-2", "1-3", *few) == 0
    assert [job.parameters["train_images"] for job in Trains.seen] == [12, 12]


@pytest.mark.whole
def test_a_job_makes_a_baseline_or_says_why_it_cannot(demo_set, tmp_path, capsys) -> None:
    parameters = {"experiment": "0-2", "profile": "demo", "data_dir": str(demo_set), "seed": 0}
    parameters |= {"run_dir": str(tmp_path / "mine"), "resume": "auto", "fold": "2/3"}
    job = Job("0-2-f2-s0", Path("baselines.py"), tmp_path / "mine", parameters)
    work.execute(job.save(tmp_path / "job.json"))
    assert (tmp_path / "mine" / "predictions-fold.csv").exists()
    without = tmp_path / "data"
    shutil.copytree(demo_set, without)
    for file in without.glob("*metadata.csv"):
        file.unlink()
    parameters |= {"data_dir": str(without), "run_dir": str(tmp_path / "other")}
    with pytest.raises(notebooks.CellError, match=r"0-2: age and sex are unknown in the split"):
        work.execute(replace(job, parameters=parameters).save(tmp_path / "job.json"))
    capsys.readouterr()


def test_a_second_call_trains_nothing(study, demo_set, capsys) -> None:
    call("1-3", "--data-dir", str(demo_set))
    assert call("1-3", "--data-dir", str(demo_set)) == 0
    assert [job.name for job in Trains.seen].count("1-3-s0") == 1
    assert "1-3-s0 is finished" in capsys.readouterr().out
    assert study[0]["runs"] == study[1]["runs"]


def test_a_notebook_that_was_killed_among_its_last_figures_is_run_again(study, demo_set) -> None:
    arguments = ("1-3", "0-2", "--no-evaluation", "--data-dir", str(demo_set))
    assert call(*arguments) == 0
    folder = study[0]["folder"]
    for name in ("1-3-s0", "0-2-s0"):  # a baseline has no page
        (folder / "logs" / f"{name}.json").touch()
        (folder / name / "run.html").unlink()
    Trains.seen.clear()
    assert call(*arguments) == 0
    assert [job.name for job in Trains.seen] == ["1-3-s0"]
    Trains.seen.clear()
    assert call(*arguments) == 0
    assert Trains.seen == []


def test_a_failure_is_named_and_the_others_go_on(study, demo_set, capsys) -> None:
    Trains.broken = ("1-3-s0",)
    assert call("1-3", "2-1", "--data-dir", str(demo_set)) == 1
    assert study[0]["runs"] == ["2-1-s0"]
    assert study[0]["failed"] == ["1-3-s0: ValueError: no such image"]
    said = capsys.readouterr().err
    assert "failed:\n- 1-3-s0: first line\nValueError: no such image" in said


def test_what_is_finished_is_reported_without_training(study, demo_set) -> None:
    call("1-3", "2-1", "--data-dir", str(demo_set), "--seeds", "0")
    Trains.seen = []
    assert call("all", "--finished", "--data-dir", str(demo_set)) == 0
    assert [job.name for job in Trains.seen] == ["evaluation-cls-test"]
    assert study[1]["runs"] == ["1-3-s0", "2-1-s0"]
    (absent,) = study[1]["failed"]
    assert absent.startswith("without a finished run: 1-1, 1-2, 1-4, 1-5, 1-6, 2-2, 2-3, 3-1,")
    assert "seg-6" in absent
    assert "2-4" not in absent  # 1-3 stands for it


def test_a_librarys_network_has_runs_of_its_own(study, demo_set, tmp_path, capsys) -> None:
    data_dir, other = ("--data-dir", str(demo_set)), ("-p", "network", "timm:test_vit")
    assert call("1-3", "2-4", *data_dir) == 0
    assert call("1-3", "2-4", *data_dir, *other) == 0
    trained = [job for job in Trains.seen if "network" in job.parameters]
    assert [job.name for job in trained] == ["1-3-timm-test_vit-s0"]
    assert trained[0].parameters["network"] == "timm:test_vit"
    assert study[1]["runs"] == ["1-3-timm-test_vit-s0"]
    assert study[1]["same"] == {"2-4-timm-test_vit-s0": "1-3-timm-test_vit-s0"}
    # Both are finished, and neither is taken for the other.
    Trains.seen = []
    assert call("1-3", *data_dir, *other) == 0
    assert call("1-3", *data_dir) == 0
    assert [job.name for job in Trains.seen] == ["evaluation-cls-test"] * 2
    models = tmp_path / "model/demo-demo"
    for name in ("1-3-f2-s0", "1-3-timm-test_vit-f2-s0", "1-3-timm-test_vit-s0.1"):
        shutil.copytree(models / "1-3-s0", models / name)
    assert call("1-3", "--finished", *data_dir) == 0
    assert study[-1]["runs"] == ["1-3-s0", "1-3-timm-test_vit-s0"]
    # A segmenter has none of timm's.
    assert call("1-3", "seg-6", *data_dir, *other) == 1
    assert "seg-6-s0: network is 'timm:test_vit'; expected None, for" in capsys.readouterr().err


def test_nothing_that_is_finished_is_said(study, demo_set, capsys) -> None:
    assert call("1-3", "--finished", "--data-dir", str(demo_set)) == 1
    assert "none of these rows has such a finished run" in capsys.readouterr().err
    assert call("1-3", "--finished", "--folds", "3", "--data-dir", str(demo_set)) == 1
    assert "none of these rows has such a finished run" in capsys.readouterr().err
    assert study == []


@pytest.mark.parametrize("settings", ["{", "[]", '{"finished": true}', '{"row": 3}', "[" * 9999])
def test_a_damaged_run_does_not_stop_the_report_of_the_others(
    study, demo_set, capsys, settings
) -> None:
    call("1-3", "2-1", "--data-dir", str(demo_set))
    (study[0]["folder"] / "1-3-s0" / "config.json").write_text(settings)
    assert call("1-3", "2-1", "--data-dir", str(demo_set)) == 1
    assert study[1]["runs"] == ["2-1-s0"]
    assert "config.json is damaged" in study[1]["failed"][0]
    assert "skipped: " in capsys.readouterr().err


def test_a_run_of_no_row_is_passed_over(study, demo_set, capsys) -> None:
    call("1-3", "2-1", "--data-dir", str(demo_set))
    settings = '{"finished": true, "row": {}}'
    (study[0]["folder"] / "1-3-s0" / "config.json").write_text(settings)
    assert call("1-3", "2-1", "--finished", "--data-dir", str(demo_set)) == 0
    assert study[1]["runs"] == ["2-1-s0"]
    assert "config.json names no row of the table" in capsys.readouterr().err


def test_the_page_of_a_run_is_named_where_there_is_one(study, demo_set, capsys) -> None:
    call("1-3", "--data-dir", str(demo_set))
    page = study[0]["folder"] / "1-3-s0" / "run.html"
    assert f"page: {page}" in capsys.readouterr().out
    page.unlink()  # as in Jupyter
    call("1-3", "--data-dir", str(demo_set))
    assert "page: " not in capsys.readouterr().out


def test_the_page_alone(study, demo_set) -> None:
    assert call("1-3", "--no-evaluation", "--data-dir", str(demo_set)) == 0
    assert [job.name for job in Trains.seen] == ["1-3-s0"]
    assert (study[0]["runs"], study[0]["pages"]) == (["1-3-s0"], {})


def test_predictions_of_others_stand_on_the_page(study, demo_set, tmp_path) -> None:
    images = data.read(demo_set)
    tested = images[images["split"] == "test"]
    tested[["id"]].assign(melanoma=0.5).to_csv(tmp_path / "their.csv", index=False)
    against = ("--against", str(tmp_path / "their.csv"), "--no-evaluation")
    assert call("1-3", *against, "--data-dir", str(demo_set)) == 0
    assert study[0]["runs"] == ["1-3-s0", "their.csv"]
    assert study[0]["folder"].name == "demo-demo"


def test_an_ensemble_is_reported_beside_its_members(study, demo_set, monkeypatch) -> None:
    monkeypatch.setattr(ensembles, "make", lambda _, runs: {"team-s0": runs["1-3-s0"]})
    team = ("--ensemble", "team=1-1,1-3", "--no-evaluation")
    assert call("1-1", "1-3", *team, "--data-dir", str(demo_set)) == 0
    assert study[0]["runs"] == ["1-1-s0", "1-3-s0", "team-s0"]


def test_an_ensemble_is_evaluated_once_its_members_are(study, demo_set, monkeypatch) -> None:
    def make(wanted, runs):
        team = runs["1-3-s0"].path.with_name("team-s0")
        settings = {"row": runs["1-3-s0"].config["row"] | {"name": wanted.name}}
        logger.RunFolder(team).save_json("config.json", settings)
        return {"team-s0": logger.RunFolder(team)}

    monkeypatch.setattr(ensembles, "make", make)
    rows = ("1-1", "1-3", "seg-6", "--ensemble", "team=1-1,1-3")
    assert call(*rows, "--data-dir", str(demo_set)) == 0
    evaluated = [job for job in Trains.seen if job.name.startswith("evaluation")]
    assert [(job.name, len(job.parameters["runs"])) for job in evaluated] == [
        ("evaluation-cls-test", 2),
        ("evaluation-seg-test", 1),
        ("evaluation-cls-test", 3),
    ]
    assert Path(evaluated[-1].parameters["runs"][-1]).name == "team-s0"
    assert [*study[0]["pages"]] == ["evaluation-cls-test", "evaluation-seg-test"]


def test_an_evaluation_that_failed_without_the_ensemble_is_forgiven(
    study, demo_set, monkeypatch
) -> None:
    def make(_, runs):
        Trains.broken = ()  # what was wrong is mended
        return {"team-s0": logger.RunFolder(runs["1-3-s0"].path)}

    monkeypatch.setattr(ensembles, "make", make)
    Trains.broken = ("evaluation-cls-test",)
    assert call("1-3", "--ensemble", "team=1-3", "--data-dir", str(demo_set)) == 0
    assert [*study[0]["pages"]] == ["evaluation-cls-test"]
    assert study[0]["failed"] == []


def test_another_split_is_evaluated_and_reported(study, demo_set) -> None:
    call("1-3", "--split", "validation", "--data-dir", str(demo_set))
    assert Trains.seen[-1].parameters["split"] == "validation"
    assert study[0]["split"] == "validation"


def test_a_dry_run_only_tells(study, demo_set, tmp_path, capsys) -> None:
    reproduce.main(["all", "--dry-run", "--profile", "demo", "--data-dir", str(demo_set)])
    said = capsys.readouterr().out
    assert Trains.seen == []
    assert study == []
    assert not (tmp_path / "model").exists()
    for line in ("1-3-s0", "2-4-s0 is the same run as 1-3-s0", "seg-3-s0 is the same run"):
        assert line in said
    assert "of which no epoch was measured yet" in said


def test_a_dry_run_of_a_restart_counts_every_epoch(study, demo_set, capsys) -> None:
    call("1-3", "--data-dir", str(demo_set))
    run = study[0]["folder"] / "1-3-s0"
    (run / "history.csv").write_text("epoch,auc_mean\n1,0.5\n2,0.6\n")
    (run / "timing.csv").write_text("epoch,seconds\n1,600\n2,600\n")
    arguments = ["1-3", "--dry-run", "--profile", "demo", "--data-dir", str(demo_set)]
    capsys.readouterr()
    reproduce.main([*arguments, "--resume", "restart"])
    said = capsys.readouterr().out
    assert " new " in said
    assert "one row after the other: 60 min" in said


@pytest.mark.usefixtures("study")
def test_a_dry_run_of_what_is_refused_says_so_to_a_script(demo_set, capsys) -> None:
    for parameter, value in (("epochs", "0"), ("seg-6:save_masks", "yes")):
        arguments = ("1-3", "seg-6", "--dry-run", "-p", parameter, value)
        assert call(*arguments, "--data-dir", str(demo_set)) == 1
        assert f"cannot run: {parameter.rpartition(':')[2]} is " in capsys.readouterr().out


@pytest.mark.usefixtures("study")
def test_ctrl_c_stops_with_its_own_status(demo_set, monkeypatch, capsys) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(schedule, "run_all", interrupted)
    assert call("1-3", "--data-dir", str(demo_set)) == 130
    assert "call it again to resume" in capsys.readouterr().err


@pytest.mark.usefixtures("study")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["1-3", "-p", "epoch", "3"], "ARL-CNN.ipynb has no parameter epoch"),
        (["1-3", "--jobs", "0"], "--jobs is 0; expected at least 1"),
        (["1-3", "--finished", "--dry-run"], "--finished trains nothing"),
        (["1-3", "--split", "train", "--executor", "slurm", "--slurm", "gpu"], "OPTION=VALUE"),
        (["1-3", "--dry-run", "--slurm", "gpu"], "OPTION=VALUE"),
        (["9-9"], "'9-9'"),
        (["1-3", "--against", "gone.csv"], "gone.csv is not there"),
        (["1-3", "--against", "x.csv", "--folds", "2"], "--against is for the page"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(demo_set, capsys, arguments, said):
    assert call(*arguments, "--data-dir", str(demo_set)) == 2
    assert said in capsys.readouterr().err
    assert Trains.seen == []


def test_the_cluster_gets_its_options(monkeypatch, tmp_path) -> None:
    given = {}
    monkeypatch.setattr(
        executors,
        "SubmititExecutor",
        lambda _logs, cluster, options: given.update(options, cluster=cluster),
    )
    options = reproduce.parser().parse_args(
        ["all", "--executor", "slurm", "--slurm", "slurm_partition=gpu", "gpus_per_node=1"]
    )
    reproduce._executor(options, reproduce._slurm_options(options.slurm), tmp_path)
    assert given == {"cluster": "slurm", "slurm_partition": "gpu", "gpus_per_node": 1}


@pytest.mark.parametrize("trouble", [RuntimeError("no srun"), NameError("slurm_partitoin")])
def test_a_cluster_that_is_not_there_is_one_sentence(monkeypatch, tmp_path, trouble) -> None:
    def refuse(**_: object) -> None:
        raise trouble

    monkeypatch.setattr(executors.submitit, "AutoExecutor", refuse)
    options = reproduce.parser().parse_args(["all", "--executor", "slurm"])
    with pytest.raises(ValueError, match=f"--executor slurm: {trouble}"):
        reproduce._executor(options, reproduce._slurm_options(options.slurm), tmp_path)


AREA = {"auc": {"value": 0.9, "low": 0.8, "high": 1}}
UNDEFINED = {"auc": {"value": None, "low": None, "high": None}}
WHOLE = {"data": "d", "split": "test", "n": 8, "official": {"melanoma": AREA}}
MASKS = dict.fromkeys(("jaccard", "dice", "threshold_jaccard"), AREA["auc"])
OF_MASKS = WHOLE | {"views": 1, "clean_up": False, "selected_on": "holdout", "official": MASKS}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (WHOLE, "AUC melanoma: 0.900"),
        (WHOLE | {"official": {"melanoma": UNDEFINED}}, "AUC melanoma: undefined"),
        (OF_MASKS, "mean Jaccard: 0.900"),
        (None, "is damaged"),
        ([], "is damaged"),
        (WHOLE | {"official": None}, "is damaged"),
        (WHOLE | {"split": 3}, "is damaged"),
        ({"official": {}}, "is damaged"),
        (WHOLE | {"official": {"melanoma": {"auc": {"value": 0.9}}}}, "is damaged"),
        (WHOLE | {"official": {"melanoma": AREA, "mean_auc": "high"}}, "is damaged"),
        (WHOLE | {"official": MASKS}, "is damaged"),
        (OF_MASKS | {"official": {"jaccard": AREA["auc"]}}, "is damaged"),
        (OF_MASKS | {"official": MASKS | {"dice": UNDEFINED["auc"]}}, "is damaged"),
    ],
)
def test_scores_are_summed_up_or_damaged(tmp_path, content, said) -> None:
    (tmp_path / "scores-test.json").write_text(json.dumps(content))
    lines = outcome.summary(tmp_path)
    assert said in lines
    if said == "is damaged":
        assert (
            "scores-test.json is damaged: expected the scores of a finished run. Remove it and run"
            in lines
        )


def test_jobs_survive_being_written(tmp_path) -> None:
    job = Job("a", tmp_path / "x.ipynb", tmp_path / "a", {"runs": ["b"]}, 3, "auc", ("c",))
    loaded = Job.load(job.save(tmp_path / "a.json"))
    assert (loaded, loaded.parameters) == (job, job.parameters)
    assert json.loads((tmp_path / "a.json").read_text())["notebook"].endswith("x.ipynb")


def test_local_jobs_share_the_cores(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 8)
    monkeypatch.setattr(machine, "cards", lambda: {"0": 80.0})
    for jobs, threads in ((["--jobs", "1"], 8), ([], 2)):  # four rows on a card of 80 GiB
        options = reproduce.parser().parse_args(["all", *jobs])
        executor = reproduce._executor(options, {}, tmp_path)
        assert (executor.threads, executor.cards) == (threads, ["0"])
