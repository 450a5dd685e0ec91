"""Many jobs by one command: planned, started, watched, stopped, taken up again."""

import io
import json
import math
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import nbformat
import psutil
import pytest
import submitit
from rich.console import Console

import experiments
from study import board, executors, plan, schedule, standing
from study.jobs import Job
from utils import logger
from utils.system import machine
from utils.system.project import PROJECT

NAN = float("nan")


def job(folder: Path, name: str = "a", **changes: object) -> Job:
    given = {"epochs": 4, "score": "auc_mean"} | changes
    return Job(name, folder / "lesson.ipynb", folder / name, {}, **given)


def epochs(folder: Path, *scores: float, seconds: float = 10.0) -> None:
    """Leave what a training leaves after these epochs."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{n},{score}" for n, score in enumerate(scores, start=1)]
    (folder / "history.csv").write_text("\n".join(["epoch,auc_mean", *lines]) + "\n")
    lines = [f"{n},{seconds * n}" for n in range(1, len(scores) + 1)]
    (folder / "timing.csv").write_text("\n".join(["epoch,seconds", *lines]) + "\n")


@pytest.fixture
def lesson(tmp_path: Path) -> Path:
    """A notebook that says a word, then does what its parameter says."""
    cells = [
        nbformat.v4.new_code_cell('do = ""\nword = ""\n', metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("print(word)\nexec(do)"),
    ]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    file = tmp_path / "lesson.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), file)
    return file


class TestStanding:
    def test_before_the_first_epoch(self, tmp_path: Path) -> None:
        now = standing.standing(job(tmp_path))
        assert now.epochs == 0
        assert math.isnan(now.best)
        assert math.isnan(standing.seconds_left(job(tmp_path), now))
        assert standing.seconds_left(job(tmp_path), now, guess=5.0) == 20.0

    def test_from_the_tables_of_the_run(self, tmp_path: Path) -> None:
        epochs(tmp_path / "a", 0.6, 0.8, 0.7)  # 10, 20 and 30 seconds
        now = standing.standing(job(tmp_path))
        assert now == (3, 0.8, 20.0)
        assert standing.seconds_left(job(tmp_path), now, guess=5.0) == 20.0  # its own is better
        assert standing.seconds_left(job(tmp_path, epochs=3), now) == 0.0

    def test_a_table_that_is_just_being_made(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "history.csv").touch()
        assert standing.standing(job(tmp_path)).epochs == 0

    def test_runs_like_it_are_known_by_what_an_epoch_depends_on(self, tmp_path: Path) -> None:
        experiment = experiments.get("seg-1", "demo")
        epochs(tmp_path / "old", 0.5, 0.5)
        stored = json.loads(json.dumps(asdict(experiment)))
        logger.RunFolder(tmp_path / "old").save_json("config.json", {"row": stored})
        known = standing.measured([tmp_path / "old", tmp_path / "none"])
        assert known == {standing.likeness(asdict(experiment)): 15.0}
        team = {"row": stored, "ensemble": {"name": "team", "rows": [], "members": []}}
        (tmp_path / "team").mkdir()
        (tmp_path / "team/timing.csv").write_text("epoch,seconds\n1,9000\n")
        logger.RunFolder(tmp_path / "team").save_json("config.json", team)
        assert standing.measured([tmp_path / "old", tmp_path / "team"]) == known
        other = experiments.get("seg-1", "demo", image_size=64, stored_size=64)
        assert standing.likeness(asdict(other)) not in known
        assert standing.likeness(asdict(replace(experiment, seed=7, epochs=50))) in known

    @pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"epoch,seconds\n1,soon\n", b""])
    def test_a_damaged_table_is_as_good_as_none(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a").mkdir()
        for name in ("history.csv", "timing.csv"):
            (tmp_path / "a" / name).write_bytes(content)
        assert math.isnan(standing.standing(job(tmp_path)).seconds)
        assert not any(map(math.isfinite, standing.measured([tmp_path / "a"]).values()))

    def test_the_last_lines_of_a_log(self, tmp_path: Path) -> None:
        (tmp_path / "log").write_text("one\ntwo\n\nthree\n\n")
        assert standing.tail(tmp_path / "log", 2) == "two\nthree"
        assert standing.tail(tmp_path / "none") == ""


class FakeHandle:
    """A job that ends after so many looks."""

    def __init__(self, log: Path, looks: int, broken: bool) -> None:
        self.log, self.looks, self.broken = log, looks, broken
        self.ended: list[str] = []

    def failed(self) -> bool | None:
        self.looks -= 1
        return None if self.looks > 0 else self.broken

    def interrupt(self) -> None:
        self.ended.append("asked")

    def end(self) -> None:
        self.ended.append("ended")


class FakeExecutor:
    """Notes what it starts, and how much of it runs at a time; names say what fails, and how."""

    def __init__(self, folder: Path, looks: int = 2) -> None:
        self.folder, self.looks = folder, looks
        self.started: list[str] = []
        self.handles: list[FakeHandle] = []
        self.most = 0

    def submit(self, work: Job) -> FakeHandle:
        if "refused" in work.name:
            raise submitit.core.utils.FailedJobError("sbatch: error: invalid partition")
        log = self.folder / f"{work.name}.log"
        log.write_text("" if "wordless" in work.name else f"{work.name} says goodbye\n")
        self.started.append(work.name)
        looks, broken = self.looks * (4 if "long" in work.name else 1), "broken" in work.name
        self.handles.append(FakeHandle(log, looks, broken))
        self.most = max(self.most, sum(handle.looks > 0 for handle in self.handles))
        return self.handles[-1]


class TestSchedule:
    @pytest.fixture(autouse=True)
    def at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(schedule, "POLL", 0.0)

    def test_so_many_at_a_time_in_their_order(self, tmp_path: Path, capsys) -> None:
        executor = FakeExecutor(tmp_path)
        jobs = [job(tmp_path, name) for name in "abcde"]
        assert schedule.run_all(jobs, executor, 2, board.Lines()) == {}
        assert executor.started == list("abcde")
        assert executor.most == 2
        said = capsys.readouterr().out.splitlines()
        assert said[:2] == ["a: running", "b: running"]
        assert sorted(said[-1:] + said[2:4]) == ["a: done", "b: done", "e: done"]

    def test_a_failure_fells_what_needs_it_and_nothing_else(self, tmp_path: Path) -> None:
        executor = FakeExecutor(tmp_path)
        jobs = [
            job(tmp_path, "last", after=("next",)),
            job(tmp_path, "next", after=("broken", "well")),
            job(tmp_path, "broken"),
            job(tmp_path, "broken wordless"),
            job(tmp_path, "refused"),
            job(tmp_path, "other", after=("refused",)),
            job(tmp_path, "well"),
        ]
        failed = schedule.run_all(jobs, executor, 1, board.Lines())
        assert {work.name: why for work, why in failed.items()} == {
            "broken": "broken says goodbye",
            "next": "it needs broken, which failed",
            "last": "it needs next, which failed",
            "broken wordless": schedule.WORDLESS,
            "refused": "it could not be started: sbatch: error: invalid partition",
            "other": "it needs refused, which failed",
        }
        assert executor.started == ["broken", "broken wordless", "well"]

    def test_one_waits_for_its_forerunner(self, tmp_path: Path) -> None:
        executor = FakeExecutor(tmp_path)
        jobs = [job(tmp_path, "b", after=("a", "elsewhere")), job(tmp_path, "a")]
        assert schedule.run_all(jobs, executor, 2, board.Lines()) == {}
        assert executor.started == ["a", "b"]
        assert executor.most == 1

    @pytest.mark.parametrize("fault", ["broken", "refused"])
    def test_what_follows_a_failure_starts_beside_what_is_left(self, tmp_path, fault) -> None:
        executor = FakeExecutor(tmp_path)

        def then(states: dict[Job, str]) -> list[Job]:
            ended = "failed" in states.values()
            return [job(tmp_path, "page", after=("long",)), job(tmp_path, "look")] if ended else []

        jobs = [job(tmp_path, fault), job(tmp_path, "long")]
        failed = schedule.run_all(jobs, executor, 2, board.Lines(), then)
        assert [work.name for work in failed] == [fault]
        assert [name for name in executor.started if name != fault] == ["long", "look", "page"]
        assert executor.most == 2

    def test_what_follows_is_asked_for_where_nothing_is_to_be_run(self, tmp_path: Path) -> None:
        executor = FakeExecutor(tmp_path)
        assert schedule.run_all([], executor, 1, board.Lines()) == {}
        schedule.run_all([], executor, 1, board.Lines(), lambda _: [job(tmp_path)])
        assert executor.started == ["a"]

    def test_ctrl_c_ends_what_runs(self, tmp_path: Path, monkeypatch) -> None:
        executor = FakeExecutor(tmp_path, looks=99)

        def interrupt(_: float) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(time, "sleep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            schedule.run_all([job(tmp_path, name) for name in "abc"], executor, 2, board.Lines())
        assert [handle.ended for handle in executor.handles] == [["asked", "ended"]] * 2


class TestBoard:
    def test_lines_tell_of_each_epoch_once(self, tmp_path: Path, capsys) -> None:
        lines, work = board.Lines(), job(tmp_path)
        for now in [(0, NAN, NAN), (1, 0.7, 30.0), (1, 0.7, 30.0), (2, 0.8, 30.0)]:
            lines.show({work: ("running", standing.Standing(*now))})
        assert capsys.readouterr().out.splitlines() == [
            "a: running",
            "a: epoch 1/4, best auc_mean 0.700, 90 s left",
            "a: epoch 2/4, best auc_mean 0.800, 60 s left",
        ]

    def test_the_live_table_shows_row_epoch_score_and_time(self, tmp_path: Path) -> None:
        console = Console(force_terminal=True, width=100, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
        table = board.LiveTable(console)
        with table.live:
            states = {job(tmp_path, "1-3-s0"): ("running", standing.Standing(1, 0.7, 400.0))}
            states[job(tmp_path, "2-1-s0")] = ("waiting", standing.Standing(0, NAN, NAN))
            table.show(states)
        text = console.export_text()
        for cell in ("1-3-s0", "running", "1/4", "auc_mean 0.700", "7 min", "20 min", "waiting"):
            assert cell in text
        console.file.close()

    def test_a_table_higher_than_the_terminal_shows_what_runs(self, tmp_path: Path) -> None:
        given = {"force_terminal": True, "width": 90, "height": 12, "record": True}
        console = Console(**given, file=io.StringIO())
        nothing = standing.Standing(0, NAN, NAN)
        states = {job(tmp_path, f"done-{n}"): ("done", nothing) for n in range(20)}
        states |= {job(tmp_path, f"wait-{n}"): ("waiting", nothing) for n in range(20)}
        states[job(tmp_path, "last")] = ("running", nothing)
        table = board.LiveTable(console)
        with table.live:
            table.show(states)
        text = console.export_text()
        for words in ("last", "wait-0", "wait-4", "and 15 waiting, 20 done"):
            assert words in text
        assert "wait-5" not in text


class TestExecutors:
    """Real processes: each starts a kernel."""

    def work(self, lesson: Path, name: str, **parameters: object) -> Job:
        return Job(name, lesson, lesson.parent / name, parameters)

    def test_jobs_leave_their_page_and_failures_their_reason(self, lesson: Path) -> None:
        executor = executors.LocalExecutor(lesson.parent / "logs", threads=1)
        jobs = [
            self.work(lesson, "good", word="a < b"),
            self.work(lesson, "bad", do="raise ValueError('no such image')"),
        ]
        failed = schedule.run_all(jobs, executor, 2, board.Lines())
        assert list(failed) == jobs[1:]
        assert failed[jobs[1]].endswith("ValueError: no such image")
        assert "a &lt; b" in (lesson.parent / "good" / "run.html").read_text()
        assert not (lesson.parent / "bad" / "run.html").exists()

    def test_what_is_printed_is_utf_8_whatever_the_system_has(
        self, lesson: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PYTHONIOENCODING", "ascii")
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        given = {}
        monkeypatch.setattr(subprocess, "Popen", lambda *_, env, **__: given.update(env))
        executors.LocalExecutor(lesson.parent, threads=1).submit(self.work(lesson, "good"))
        assert (given["PYTHONIOENCODING"], given["OMP_NUM_THREADS"]) == ("utf-8", "3")

    def test_each_job_sees_one_card_and_its_share_of_the_cores(
        self, lesson: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ended: list[bool] = []
        given: list[dict[str, str]] = []

        def started(*_: object, env: dict[str, str], **__: object) -> SimpleNamespace:
            given.append(env)
            number = len(given)
            return SimpleNamespace(poll=lambda: 0 if ended and number == 2 else None, stdin=None)

        monkeypatch.setattr(subprocess, "Popen", started)
        executor = executors.LocalExecutor(lesson.parent, threads=4, cards=["0", "GPU-b"])
        for name in "abc":
            executor.submit(self.work(lesson, name))
        ended.append(True)  # the job on the second card
        for name in "de":
            executor.submit(self.work(lesson, name))
        cards = [environment["CUDA_VISIBLE_DEVICES"] for environment in given]
        assert cards == ["0", "GPU-b", "0", "GPU-b", "GPU-b"]
        assert {environment[machine.SHARE] for environment in given} == {"4"}

    @pytest.mark.parametrize(
        ("cores", "memory", "rows"),
        [
            (2, [], 2),
            (16, [], 4),
            (16, [80.0], 4),
            (16, [15.0], 1),
            (64, [40.0, 24.0, 80.0], 7),
            (2, [80.0, 80.0], 2),
        ],
    )
    def test_how_many_rows_at_a_time(self, cores: int, memory: list[float], rows: int) -> None:
        cards = {str(number): each for number, each in enumerate(memory)}
        assert executors.at_once(cores, cards) == rows

    @pytest.mark.skipif(os.name != "posix", reason="submitit needs a POSIX system")
    def test_the_way_of_the_cluster(self, lesson: Path) -> None:
        executor = executors.SubmititExecutor(lesson.parent / "logs", "local", {"timeout_min": 5})
        jobs = [
            self.work(lesson, "good", word="hello"),
            self.work(lesson, "bad", do="raise ValueError('no such image')"),
        ]
        failed = schedule.run_all(jobs, executor, 2, board.Lines())
        assert list(failed) == jobs[1:]
        assert "ValueError: no such image" in failed[jobs[1]]
        assert (lesson.parent / "good" / "run.html").exists()

    def begun(self, lesson: Path) -> tuple[Job, Path]:
        """A job that tells the number of its kernel's process, then sleeps."""
        file = lesson.parent / "pid"
        code = f"import os, time\nopen({str(file)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
        return self.work(lesson, "long", do=code), file

    def kernel(self, file: Path) -> psutil.Process:
        until = time.monotonic() + 120
        while not (file.exists() and file.read_text()):
            assert time.monotonic() < until
            time.sleep(0.1)
        return psutil.Process(int(file.read_text()))

    def test_cancelling_ends_the_kernel_too(self, lesson: Path) -> None:
        work, file = self.begun(lesson)
        handle = executors.LocalExecutor(lesson.parent / "logs", threads=1).submit(work)
        kernel = self.kernel(file)
        assert handle.failed() is None
        handle.interrupt()
        handle.end()
        assert handle.failed()
        kernel.wait(30)

    def test_a_killed_parent_takes_its_jobs_along(self, lesson: Path) -> None:
        work, file = self.begun(lesson)
        saved = work.save(lesson.parent / "job.json")
        code = (
            "import sys, time; from pathlib import Path\n"
            "from study import executors, jobs\n"
            f"executor = executors.LocalExecutor(Path({str(lesson.parent / 'logs')!r}), 1)\n"
            f"handle = executor.submit(jobs.Job.load(Path({str(saved)!r})))\n"
            "time.sleep(600)"
        )
        parent = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT)
        kernel = self.kernel(file)
        parent.kill()
        parent.wait()
        kernel.wait(30)


class TestPlan:
    @pytest.fixture(autouse=True)
    def project(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("utils.system.project.PROJECT", tmp_path)

    def finish(self, planned: plan.Planned, **changes: object) -> logger.RunFolder:
        run = logger.start_run(
            planned.job.folder, replace(planned.experiment, **changes), {"fingerprint": 1}
        )
        for name in (
            "last.pt",
            "scores-test.json",
            f"predictions-{planned.experiment.select_on}.csv",
        ):
            (run / name).touch()
        run.remember("finished", True)
        return run

    def test_rows_that_are_the_same_run_are_run_once(self, demo_set: Path) -> None:
        made = plan.plan(["1-3", "2-4", "seg-2", "seg-3"], [0, 1], "demo", demo_set)
        assert [run.job.name for run in made.runs] == ["1-3-s0", "seg-2-s0", "1-3-s1", "seg-2-s1"]
        assert made.same == {
            "2-4-s0": "1-3-s0",
            "seg-3-s0": "seg-2-s0",
            "2-4-s1": "1-3-s1",
            "seg-3-s1": "seg-2-s1",
        }
        alone = plan.plan(["2-4"], [0], "demo", demo_set)
        assert [run.job.name for run in alone.runs] == ["1-3-s0"]
        assert alone.runs[0].job.parameters["experiment"] == "1-3"

    def test_seg_3_is_a_run_of_its_own_where_there_are_weights(self, demo_set: Path) -> None:
        made = plan.plan(["seg-2", "seg-3"], [0], "best", demo_set)
        assert len(made.runs) == 2

    def test_a_finished_run_is_left_alone(self, demo_set: Path) -> None:
        (first,) = plan.plan(["1-3"], [0], "demo", demo_set).runs
        assert not first.finished
        run = self.finish(first)
        made = plan.plan(["1-3"], [0], "demo", demo_set)
        assert made.runs[0].finished
        assert made.jobs == []
        assert plan.plan(["1-3"], [0], "demo", demo_set, resume="restart").jobs
        (run / f"predictions-{first.experiment.select_on}.csv").unlink()  # not all of it is there
        assert plan.plan(["1-3"], [0], "demo", demo_set).jobs

    def test_a_finished_run_does_not_need_its_last_state(self, demo_set: Path) -> None:
        (first,) = plan.plan(["1-3"], [0], "demo", demo_set).runs
        run = self.finish(first)
        (run / "last.pt").rename(run / "best.safetensors")
        assert plan.plan(["1-3"], [0], "demo", demo_set).runs[0].finished
        other = plan.plan(["1-3"], [0], "demo", demo_set, [("epochs", "7")])
        assert "epochs is" in other.refused["1-3-s0"]

    def test_a_run_on_other_data_is_left_to_its_notebook(self, demo_set: Path) -> None:
        (first,) = plan.plan(["1-3"], [0], "demo", demo_set).runs
        run = self.finish(first)
        for folder, finished in ((demo_set.name, True), ("another", False)):
            run.save_json("config.json", run.config | {"data": {"folder": folder}})
            made = plan.plan(["1-3"], [0], "demo", demo_set)
            assert [planned.finished for planned in made.runs] == [finished]
            assert made.refused == {}

    def test_a_run_with_other_settings_is_refused(self, demo_set: Path) -> None:
        (first,) = plan.plan(["1-3"], [0], "demo", demo_set).runs
        self.finish(first, epochs=99)
        made = plan.plan(["1-3", "2-1"], [0], "demo", demo_set)
        assert [run.job.name for run in made.runs] == ["2-1-s0"]
        assert "epochs is 99 there" in made.refused["1-3-s0"]
        assert "--resume restart" in made.refused["1-3-s0"]

    def test_overrides_reach_row_and_notebook(self, demo_set: Path) -> None:
        changes = [("epochs", "2"), ("seg-*:loss", "dice"), ("seg-*:save_masks", "True")]
        first, second = plan.plan(["1-3", "seg-1"], [0], "demo", demo_set, changes).runs
        assert (first.experiment.epochs, first.job.parameters["epochs"]) == (2, 2)
        assert "loss" not in first.job.parameters
        assert (second.experiment.loss, second.job.parameters["loss"]) == ("dice", "dice")
        assert second.job.parameters["save_masks"] is True

    def test_a_row_under_another_name_is_changed_by_either_name(self, demo_set: Path) -> None:
        for key in ("2-4:epochs", "1-3:epochs"):
            (run,) = plan.plan(["2-4"], [0], "demo", demo_set, [(key, "2")]).runs
            assert (run.job.name, run.experiment.epochs) == ("1-3-s0", 2)
        made = plan.plan(["1-3", "2-4"], [0], "demo", demo_set, [("2-*:epochs", "2")])
        assert [run.experiment for run in made.runs] == [experiments.get("1-3", "demo")]
        assert "run as 1-3-s0, which is to run with other parameters" in made.refused["2-4-s0"]

    @pytest.mark.parametrize(
        ("key", "said"),
        [
            ("epoch", r"ARL-CNN.ipynb has no parameter epoch; it has experiment, profile"),
            ("seed", r"-p cannot change seed; use .*--seeds"),
            ("9-*:epochs", r"-p 9-\*:epochs fits none of the rows 1-3"),
        ],
    )
    def test_wrong_overrides_are_refused(self, key: str, said: str, demo_set: Path) -> None:
        with pytest.raises(ValueError, match=said):
            plan.plan(["1-3"], [0], "demo", demo_set, [(key, "1")])

    def test_a_value_that_a_row_cannot_have_is_named(self, demo_set: Path) -> None:
        made = plan.plan(["1-3", "2-1"], [0], "demo", demo_set, [("1-3:epochs", "0")])
        assert "epochs is 0; expected at least 1" in made.refused["1-3-s0"]
        assert [run.job.name for run in made.runs] == ["2-1-s0"]

    def test_an_encoder_of_this_very_study_is_waited_for(self, demo_set: Path) -> None:
        changes = [("seg-5:encoder_from", "1-5-s0")]
        first, second = plan.plan(["1-5", "seg-5"], [0], "demo", demo_set, changes).runs
        assert first.job.after == ()
        assert second.job.after == ("1-5-s0",)

    def test_a_row_without_its_training_list_is_refused_before_anything_runs(
        self, demo_set: Path
    ) -> None:
        made = plan.plan(["1-3", "1-4", "seg-1"], [0], "coursework", demo_set)
        assert list(made.refused) == ["1-3-s0", "1-4-s0"]
        assert "train_list='patches' needs ISIC-2017_Training_Data_Patch" in made.refused["1-4-s0"]
        assert "train_list='extended' needs ISIC-2017_Training_Aug" in made.refused["1-3-s0"]
        assert "\n" not in made.refused["1-3-s0"]
        assert [run.job.name for run in made.runs] == ["seg-1-s0"]
