"""Rerun the study: rows of the experiment table, their evaluation, and one page that compares them.

    python reproduce.py all --profile demo                    everything, on synthetic images
    python reproduce.py 3-1 3-2 --seeds 0 1 2 --dry-run       what would run, and for how long
    python reproduce.py 1-3 4-1 -p epochs 20 -p '4-*:workers' 1
    python reproduce.py all --finished                        run nothing, report finished runs

Papermill executes each row into its run folder. A finished one is left alone, an interrupted one is
resumed, and one that fails is named at the end while the others continue: stop it at any time, and
call it again. Then Evaluation-Cls.ipynb and Evaluation-Seg.ipynb evaluate all of them, and the page
model/<set>-<profile>/report-<split>/index.html compares them with the published numbers.
"""

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

import experiments
import study
from utils import data, evaluation, logger, system
from utils.system import machine, values
from utils.system.errors import RunError


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    rows = f"rows of experiments/, or all: {', '.join(experiments.ROWS)}"
    names = [*experiments.ROWS, "all"]
    line.add_argument("rows", nargs="+", choices=names, metavar="ROW", help=rows)
    recipe = "the recipe; default best on a GPU, light on a CPU, on the synthetic set demo"
    line.add_argument("--profile", choices=experiments.PROFILES, help=recipe)
    where = "a data folder, or 'demo' for the synthetic set; default as in the notebooks"
    line.add_argument("--data-dir", help=f"{where}, for the profile demo the synthetic set")
    seeds = "one run of each row a seed; default 0"
    line.add_argument("--seeds", type=int, nargs="+", default=[0], help=seeds)
    folds = (
        "cross-validation: one run for each of so many parts of the training images, which it "
        "holds out and is scored on; no evaluation and no page"
    )
    line.add_argument("--folds", type=int, metavar="N", help=folds)
    kinds = "series: images with ids of the same hundred stay in one fold, which is harder"
    line.add_argument("--fold-by", choices=("chance", "series"), default="chance", help=kinds)
    split = "the images to evaluate and report; default test, else validation"
    line.add_argument("--split", choices=("train", "validation", "test"), help=split)
    change = "another value of a notebook's parameter, for all rows or those that fit: 'seg-*:loss'"
    pairs: dict[str, Any] = {"nargs": 2, "action": "append", "default": []}
    line.add_argument("-p", "--parameter", metavar=("NAME", "VALUE"), help=change, **pairs)
    dry = "only show what would run, what is finished, and how long the training that is left takes"
    line.add_argument("--dry-run", action="store_true", help=dry)
    finished = (
        "run no row: evaluate and report all finished runs of these rows, of any seed (with "
        "--folds of these seeds)"
    )
    line.add_argument("--finished", action="store_true", help=finished)
    page = "do not execute the evaluation notebooks, only write the page"
    line.add_argument("--no-evaluation", action="store_true", help=page)
    mean = (
        "average the probabilities of these rows, all seeds, as a run of its own: team=3-1,3-3; or "
        "their logarithms: team:logits=3-1,0-2"
    )
    line.add_argument("--ensemble", metavar="NAME=ROW,ROW", action="append", help=mean, default=[])
    theirs = "compare the classifiers with a file of others' predictions, see docs/predict.md"
    line.add_argument("--against", metavar="FILE", action="append", help=theirs, default=[])
    kept = "copy settings, history, predictions and scores of the finished runs to docs/runs"
    line.add_argument("--keep", action="store_true", help=kept)
    again = "auto (default) resumes what was begun; restart moves it aside"
    line.add_argument("--resume", default="auto", choices=values.RESUME, help=again)
    jobs = (
        "how many rows at a time; default one per core, at most 4, and on each GPU as many as its "
        "memory takes; all on a cluster, which queues them"
    )
    line.add_argument("--jobs", type=int, help=jobs)
    place = "where: on this machine, or as jobs of a Slurm cluster"
    line.add_argument("--executor", default="local", choices=("local", "slurm"), help=place)
    options = "what submitit takes, for instance slurm_partition=gpu gpus_per_node=1"
    line.add_argument("--slurm", nargs="+", default=[], metavar="OPTION=VALUE", help=options)
    return line


def main(arguments: list[str] | None = None) -> None:
    """The command line; see the head of this file."""
    system.begin()
    line = parser()
    options = line.parse_args(arguments)
    _end_by_signals()
    if options.data_dir is None and options.profile == "demo":
        options.data_dir = "demo"
    if options.jobs is not None and options.jobs < 1:
        line.error(f"--jobs is {options.jobs}; expected at least 1.")
    if options.finished and options.dry_run:
        line.error("--finished trains nothing that --dry-run could show; leave one of them out.")
    try:
        planned, outcome = _planned(options)
        slurm = _slurm_options(options.slurm)
        options.ensemble = study.ensembles.all_wanted(options.ensemble, outcome.names)
        if options.dry_run:
            if not study.preview.show_plan(planned, outcome.data_dir):
                sys.exit(1)
            return
        theirs = _theirs(options, outcome)
        logs = logger.models_of(outcome.data_dir, options.profile) / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        executor = _executor(options, slurm, logs)
    except (ValueError, FileExistsError) as error:
        line.error(str(error))
    try:
        sys.exit(_run(options, planned, executor, outcome, theirs))
    except KeyboardInterrupt:
        again = " without --resume restart" * (options.resume == "restart")
        print(f"\nstopped; call it again{again} to resume", file=sys.stderr)
        sys.exit(study.work.STOPPED)


def _end_by_signals() -> None:
    """Treat every signal to end as Ctrl-C, which a shell switches off in the background."""
    for heard in (signal.SIGTERM, signal.SIGINT):
        signal.signal(heard, signal.default_int_handler)
    # The end of the terminal, too, unless nohup was used. (Windows has no such signal.)
    hangup = getattr(signal, "SIGHUP", None)
    if hangup and signal.getsignal(hangup) == signal.SIG_DFL:
        signal.signal(hangup, signal.default_int_handler)


def _planned(options: argparse.Namespace) -> "tuple[study.plan.Plan, study.outcome.Outcome]":
    """What is to be run, and its outcome."""
    data_dir = data.locate(options.data_dir)
    if options.profile is None:
        options.profile = logger.usual_profile(data_dir)
        print(f"profile: {options.profile}")
    split = data.evaluation_split(data.read(data_dir), options.split)
    names = study.outcome.names_of(options.rows, options.profile, options.finished)
    how = (options.parameter, options.resume, study.folds.names(options.folds, options.fold_by))
    planned = study.plan.plan(names, options.seeds, options.profile, data_dir, *how)
    counted = None if options.finished else planned
    return planned, study.outcome.Outcome(names, options.profile, data_dir, split, counted)


def _run(
    options: argparse.Namespace,
    planned: "study.plan.Plan",
    executor: "study.executors.Executor",
    outcome: "study.outcome.Outcome",
    theirs: "study.outcome.Runs",
) -> int:
    """Trainings, evaluations, report; returns the exit status."""
    jobs, failed = ([], {}) if options.finished else (planned.jobs, dict(planned.refused))
    for run in () if options.finished else planned.runs:
        if run.finished:
            print(f"{run.job.folder} is finished")
    alone = options.no_evaluation or options.folds
    evaluations = study.schedule.no_jobs if alone else outcome.evaluations
    at_once = _at_once(options) if options.executor == "local" else options.jobs or len(jobs) + 2
    broken = study.schedule.run_all(jobs, executor, at_once, study.board.board(), evaluations)
    failed |= {job.name: lines for job, lines in broken.items()}
    if options.folds:
        folders = {run.job.name: logger.RunFolder(run.job.folder) for run in planned.runs}
        held = {name: run for name, run in folders.items() if run.finished}
        held |= _ensembles(options, held, failed)
        _show_folds(held, outcome)
        failed |= _keep(held, options.keep)
        if options.finished and not held:
            _say_none()
        _show_failed(failed)
        return 1 if failed or not held else 0
    states: dict[study.jobs.Job, study.jobs.State] = {
        job: "failed" if job in broken else "done" for job in jobs
    }
    runs = outcome.runs(states)
    teams = _ensembles(options, runs, failed)
    if teams and not alone:  # for they average what that evaluation may have predicted
        again = outcome.evaluations(states, teams)
        for job in again:
            broken.pop(job, None)
            failed.pop(job.name, None)
        broken |= study.schedule.run_all(again, executor, at_once, study.board.board())
        failed |= {job.name: lines for job, lines in broken.items()}
    _show(runs | teams, outcome.damaged())
    failed |= _keep(runs | teams, options.keep)
    if runs:
        reasons = [f"{name}: {lines.splitlines()[-1]}" for name, lines in failed.items()]
        if absent := outcome.absent(runs):
            reasons.append(f"without a finished run: {', '.join(absent)}")
        evaluated = [job for job in evaluations(states) if job not in broken]
        pages = {job.name: job.folder / "run.html" for job in evaluated}
        page = study.report.write(
            runs | teams | theirs, outcome.data_dir, outcome.split, reasons, pages, planned.same
        )
        print(f"\nreport: {page}")
    elif options.finished:
        _say_none()
    _show_failed(failed)
    return 1 if failed or not runs else 0


def _say_none() -> None:
    print("none of these rows has such a finished run; leave --finished out", file=sys.stderr)


def _theirs(options: argparse.Namespace, outcome: "study.outcome.Outcome") -> "study.outcome.Runs":
    """The files of `--against` as run folders. DataError or RunError for what is no such file."""
    if options.against and options.folds:
        raise RunError("--against is for the page, which --folds does not write; leave one out.")
    found: study.outcome.Runs = {}
    for text in options.against:
        row = experiments.OTHERS["other"]
        run = evaluation.others.adopt(text, row, outcome.data_dir, outcome.split)
        found[f"{run.path.name}.csv"] = run
    return found


def _show_failed(failed: dict[str, str]) -> None:
    """Print which runs failed, and why."""
    if failed:
        print("\nfailed:", file=sys.stderr)
        for name, lines in failed.items():
            print(f"- {name}: {lines}", file=sys.stderr)


def _show_folds(runs: "study.outcome.Runs", outcome: "study.outcome.Outcome") -> None:
    """Print the scores of finished folds, and write their predictions together."""
    if runs:
        print(f"\n{data.note(outcome.data_dir)}, images held out in training:")
    for table in study.folds.tables(list(runs.values())):
        print(table.to_string(index=False))
    for file in study.folds.write(runs.values()):
        print(f"out-of-fold predictions: {file}")


def _ensembles(
    options: argparse.Namespace, runs: "study.outcome.Runs", failed: dict[str, str]
) -> "study.outcome.Runs":
    """The ensembles asked for, made of finished runs; why one cannot be goes into failed."""
    teams: study.outcome.Runs = {}
    for wanted in options.ensemble if runs else ():
        try:
            teams |= study.ensembles.make(wanted, runs)
        except RunError as error:
            failed[wanted.name] = str(error)
    return teams


def _keep(runs: "study.outcome.Runs", wanted: bool) -> dict[str, str]:
    """Copy what tables need of these runs, if that is wanted; which were not, and why."""
    failed = {}
    for name, run in runs.items() if wanted else ():
        try:
            print(f"kept: {study.archive.keep(run)}")
        except RunError as error:
            failed[name] = str(error)
    return failed


def _show(runs: "study.outcome.Runs", damaged: list[str]) -> None:
    """Print what each run scored, and where its page is."""
    for problem in damaged:
        print(f"skipped: {problem}", file=sys.stderr)
    for run in runs.values():
        print(f"\n{study.outcome.summary(run.path)}")
        if (run / "run.html").exists():  # a run trained in Jupyter has none
            print(f"page: {run / 'run.html'}")


def _slurm_options(given: list[str]) -> dict[str, str | int]:
    """The options of `--slurm`, numbers as such. ValueError for what is no OPTION=VALUE."""
    if wrong := [option for option in given if "=" not in option]:
        raise ValueError(f"--slurm {wrong[0]}: expected OPTION=VALUE, as slurm_partition=gpu.")
    options = dict(option.split("=", 1) for option in given)
    return {key: int(value) if value.isdecimal() else value for key, value in options.items()}


def _executor(
    options: argparse.Namespace, slurm: dict[str, str | int], logs: Path
) -> "study.executors.Executor":
    """Starts the jobs, here or on the cluster; logs is the folder of what they print."""
    if options.executor == "slurm":
        return study.executors.SubmititExecutor(logs, "slurm", slurm)
    threads = max(1, machine.cores() // _at_once(options))
    return study.executors.LocalExecutor(logs, threads, list(machine.cards()))


def _at_once(options: argparse.Namespace) -> int:
    """How many rows run at a time on this machine."""
    return options.jobs or study.executors.at_once(machine.cores(), machine.cards())


if __name__ == "__main__":
    main()
