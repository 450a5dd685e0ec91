"""Rerun the study: rows of the experiment table, their evaluation, and one page that compares them.

    python reproduce.py all --profile demo                    everything, on synthetic images
    python reproduce.py 3-1 3-2 --seeds 0 1 2 --dry-run       what would run, and for how long
    python reproduce.py 1-3 4-1 -p epochs 20 -p '4-*:workers' 1
    python reproduce.py all --finished                        run nothing, report what is there

A row is executed by papermill into its run folder. A finished one is left alone, one that was
interrupted goes on, one that fails is named at the end while the others go on: stop it whenever you
like, and call it again. Then Evaluation-Cls.ipynb and Evaluation-Seg.ipynb look at all of them, and
the page model/<set>-<profile>/report-<split>/index.html holds them against the published numbers.
"""

import argparse
import os
import shutil
import signal
import sys
from pathlib import Path

import experiments
from study import report
from study.board import board
from study.executors import Executor, LocalExecutor, SubmititExecutor
from study.outcome import Outcome, rows_of
from study.plan import Plan, plan
from study.preview import show_plan
from study.schedule import no_jobs, run_all
from study.work import STOPPED
from utils import data, logger
from utils.evaluation import score_files, score_tables
from utils.logger import folders
from utils.system import console, errors, values


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    rows = f"rows of experiments/, or all: {', '.join(experiments.ROWS)}"
    known = [*experiments.ROWS, "all"]
    line.add_argument("rows", nargs="+", choices=known, metavar="ROW", help=rows)
    line.add_argument("--profile", default="best", choices=experiments.PROFILES, help="the recipe")
    where = "folder of ISIC 2017, or 'demo' for the synthetic set; default as in the notebooks"
    line.add_argument("--data-dir", help=f"{where}, for the profile demo the synthetic set")
    seeds = "one run of each row a seed; default 0"
    line.add_argument("--seeds", type=int, nargs="+", default=[0], help=seeds)
    split = "what the evaluation and the report are about; default test, else validation"
    line.add_argument("--split", choices=("train", "validation", "test"), help=split)
    change = "another value of a notebook's parameter, for all rows or those that fit: 'seg-*:loss'"
    line.add_argument(
        "-p",
        "--parameter",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help=change,
    )
    dry = "only show what would run, what is finished, and how long the training that is left takes"
    line.add_argument("--dry-run", action="store_true", help=dry)
    finished = "run no row: evaluate and report all finished runs of these rows, of any seed"
    line.add_argument("--finished", action="store_true", help=finished)
    page = "do not execute the evaluation notebooks, only write the page"
    line.add_argument("--no-evaluation", action="store_true", help=page)
    again = "auto (default) goes on with what was begun; restart moves it aside"
    line.add_argument("--resume", default="auto", choices=values.RESUME, help=again)
    jobs = (
        "how many rows at a time; default one a core, at most 4, and one where there is a GPU; all "
        "on a cluster, which then queues them"
    )
    line.add_argument("--jobs", type=int, help=jobs)
    place = "where: on this machine, or as jobs of a Slurm cluster"
    line.add_argument("--executor", default="local", choices=("local", "slurm"), help=place)
    options = "what submitit takes, for instance slurm_partition=gpu gpus_per_node=1"
    line.add_argument("--slurm", nargs="+", default=[], metavar="OPTION=VALUE", help=options)
    return line


def main(arguments: list[str] | None = None) -> None:
    """The command line; see the head of this file."""
    console.begin()
    line = parser()
    chosen = line.parse_args(arguments)
    # A kill that can be heard is treated as Ctrl-C, which a background shell has switched off.
    for heard in (signal.SIGTERM, signal.SIGINT):
        signal.signal(heard, signal.default_int_handler)
    # The end of a terminal, too, but for those who said nohup. (Windows has no such signal.)
    hangup = getattr(signal, "SIGHUP", None)
    if hangup and signal.getsignal(hangup) == signal.SIG_DFL:
        signal.signal(hangup, signal.default_int_handler)
    if chosen.data_dir is None and chosen.profile == "demo":
        chosen.data_dir = "demo"
    if chosen.jobs is not None and chosen.jobs < 1:
        line.error(f"--jobs is {chosen.jobs}; expected at least 1.")
    try:
        data_dir = data.locate(chosen.data_dir)
        split = data.evaluation_split(data.read(data_dir), chosen.split)
        rows = rows_of(chosen.rows, chosen.profile)
        planned = plan(
            rows,
            chosen.seeds,
            chosen.profile,
            data_dir,
            chosen.parameter,
            chosen.resume,
        )
        options = _slurm_options(chosen.slurm)
        if chosen.dry_run:
            show_plan(planned, data_dir)
            if planned.refused:
                sys.exit(1)
            return
        executor = _executor(chosen, options, _logs(data_dir, chosen.profile))
        counted = None if chosen.finished else planned
        outcome = Outcome(rows, chosen.profile, data_dir, split, counted)
    except (ValueError, FileExistsError) as error:
        line.error(str(error))
    try:
        sys.exit(_run(chosen, planned, executor, outcome))
    except KeyboardInterrupt:
        again = " without --resume restart" * (chosen.resume == "restart")
        print(f"\nstopped; call it again{again} to go on", file=sys.stderr)
        sys.exit(STOPPED)


def _run(chosen: argparse.Namespace, planned: Plan, executor: Executor, outcome: Outcome) -> int:
    """Rows, evaluations, report; returns the exit status."""
    jobs, failed = ([], {}) if chosen.finished else (planned.jobs, dict(planned.refused))
    if not chosen.finished:
        for run in planned.runs:
            if run.finished:
                print(f"{run.job.folder} is finished")
    evaluations = no_jobs if chosen.no_evaluation else outcome.evaluations
    at_once = chosen.jobs or (_at_once() if chosen.executor == "local" else len(jobs) + 2)
    broken = run_all(jobs, executor, at_once, board(), evaluations)
    failed |= {job.name: lines for job, lines in broken.items()}
    states = {job: "failed" if job in broken else "done" for job in jobs}
    done = outcome.runs(states)
    for problem in outcome.damaged():
        print(f"passed over: {problem}", file=sys.stderr)
    for run in done.values():
        print(f"\n{summary(run.path)}")
        if (run / "run.html").exists():  # a run that was made in Jupyter has none
            print(f"page: {run / 'run.html'}")
    if done:
        looked = [job for job in evaluations(states) if job not in broken]
        pages = {job.name: job.folder / "run.html" for job in looked}
        reasons = [f"{name}: {lines.splitlines()[-1]}" for name, lines in failed.items()]
        if absent := outcome.absent(done):
            reasons.append(f"without a finished run: {', '.join(absent)}")
        page = write_report(done, outcome.data_dir, outcome.split, pages, reasons, planned.same)
        print(f"\nreport: {page}")
    elif chosen.finished:
        print("none of these rows has a finished run; leave --finished out", file=sys.stderr)
    if failed:
        print("\nfailed:", file=sys.stderr)
        for name, lines in failed.items():
            print(f"- {name}: {lines}", file=sys.stderr)
    return 1 if failed or not done else 0


def _logs(data_dir: Path, profile: str) -> Path:
    folder = logger.models_of(data_dir, profile) / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _at_once() -> int:
    """One row a core, at most four, because each needs memory; one where there is a GPU."""
    return 1 if shutil.which("nvidia-smi") else min(4, os.cpu_count() or 1)


def _slurm_options(given: list[str]) -> dict[str, str | int]:
    """What `--slurm` says, numbers as such. ValueError for what is no OPTION=VALUE."""
    if wrong := [option for option in given if "=" not in option]:
        raise ValueError(f"--slurm {wrong[0]}: expected OPTION=VALUE, as slurm_partition=gpu.")
    options = dict(option.split("=", 1) for option in given)
    return {key: int(value) if value.isdecimal() else value for key, value in options.items()}


def _executor(chosen: argparse.Namespace, options: dict[str, str | int], logs: Path) -> Executor:
    if chosen.executor == "slurm":
        return SubmititExecutor(logs, "slurm", options)
    cores = os.cpu_count() or 1
    return LocalExecutor(logs, max(1, cores // (chosen.jobs or _at_once())))


def write_report(
    done: dict[str, logger.RunFolder],
    data_dir: Path,
    split: str,
    pages: dict[str, Path],
    failed: list[str],
    same: dict[str, str],
) -> Path:
    """The page of all runs, with the executed evaluations beside it; returns where it lies.

    What an earlier page had beside it is removed. same: runs that another one stands for, by name.
    """
    folder = next(iter(done.values())).path.parent / f"report-{split}"
    folder.mkdir(exist_ok=True)
    folders.forget_pages(folder)
    beside = {}
    for name, page in pages.items():
        beside[name] = Path(shutil.copy2(page, folder / f"{name}.html"))
    rows = {name: row for run in done.values() for name, row in _recipe(run).items()}
    stands_for = {_row_of(run): _row_of(other) for run, other in same.items()}
    against = experiments.AGAINST
    return report.write(done, rows, data_dir, split, folder, against, failed, beside, stands_for)


def _row_of(run: str) -> str:
    return run.rpartition("-s")[0]


def _recipe(run: logger.RunFolder) -> dict[str, experiments.Row]:
    """The row of a run as the table has it, without what this run changed."""
    row = run.config["row"]
    return {row["name"]: experiments.get(row["name"], row["profile"])}


def summary(folder: Path) -> str:
    """What the score files of a run folder say, in a few lines."""
    lines = [str(folder)]
    for file in sorted(folder.glob("scores-*.json")):
        try:
            lines.append(score_tables.summary(score_files.read(file)))
        except errors.RunError as error:
            lines.append(str(error))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
