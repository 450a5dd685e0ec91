"""What the runs were made of and what they took: data, versions, settings; and the cost apart.

What may change from one execution to another (times, dates, machines) is in the cost alone.
"""

import datetime
import os
from collections.abc import Sequence

import pandas as pd

from study.report import tables as tables
from study.report.entries import Entry, Study
from study.report.findings import listed, unique
from study.report.page import Block, Section, Table, Text
from utils.data.splits import class_counts


def record(study: Study) -> Section:
    """Data, training lists, versions, revisions, and every setting that is not the recipe's."""
    blocks: list[Block] = [_images(study)]
    data = [entry.config.get("data", {}) for entry in study.entries]
    facts = unique(
        (str(one.get("set", "?")), str(one.get("folder", "?")), str(one.get("fingerprint", "?")))
        for one in data
    )
    columns = ["data", "folder", "fingerprint"]
    blocks.append(Table("Data that the runs were trained on", pd.DataFrame(facts, columns=columns)))
    blocks.append(Table("Runs: settings, and what differs from the recipe", _settings(study)))
    blocks.append(Table("Versions", _versions(study.entries)))
    blocks.append(Text("The machines are named under Cost, with everything else that may change."))
    return Section("record", "Data, settings, versions", blocks)


def _images(study: Study) -> Block:
    if study.images is None:
        return Text(f"The images could not be counted: {study.problem}")
    counts = class_counts(study.images).reset_index(names="split").astype(str)
    counts.columns = [str(name).replace("_", " ") for name in counts.columns]
    return Table(f"Images of each split{'' if study.synthetic else ', official lists'}", counts)


def _settings(study: Study) -> pd.DataFrame:
    lines = []
    for entry in study.entries:
        experiment = entry.experiment
        started = experiment.get("encoder_from") or experiment.get("weights") or "random"
        lines.append(
            {
                "run": entry.name,
                "network": str(experiment.get("network", "?")),
                "starts from": str(started),
                "trained on": "synthetic images"
                if study.synthetic
                else f"{experiment.get('train_list', '?')} list",
                "epoch chosen on": str(experiment.get("select_on", "?")),
                "image size": tables.size(experiment.get("image_size", "?")),
                "epochs": str(len(entry.history) or "?"),
                "views": str(experiment.get("views", "?")),
                "revision": str(entry.config.get("git") or tables.NOT_RECORDED),
                "differs from the recipe: value (recipe)": tables.overrides(entry),
            }
        )
    return pd.DataFrame(lines)


def _versions(entries: Sequence[Entry]) -> pd.DataFrame:
    """A line a package; the runs are named where they differ."""
    found: dict[str, dict[str, list[str]]] = {}
    for entry in entries:
        for package, version in entry.config.get("versions", {}).items():
            if package != "platform":  # the machine's, not the results'
                found.setdefault(package, {}).setdefault(str(version), []).append(entry.name)
    lines = [
        {"package": package, "version": version, "runs": _who(runs, len(entries))}
        for package, versions in found.items()
        for version, runs in versions.items()
    ]
    return pd.DataFrame(lines, columns=["package", "version", "runs"])


def _who(runs: list[str], all_runs: int) -> str:
    return "all" if len(runs) == all_runs else listed(runs)


def cost(study: Study) -> Section:
    """What everything took, where, and when this page was written."""
    now = datetime.datetime.now().astimezone().isoformat(timespec="minutes")
    seconds = sum(e.timing["seconds"].sum() for e in study.entries if not e.timing.empty)
    words = (
        f"Page written {now} on {os.cpu_count()} cores. Training took {seconds / 3600:.2f} hours "
        "in all. Images are those that were trained on, over all epochs. GFLOPs: one image, "
        "forward, a multiplication and an addition counted as two."
    )
    return Section(
        "cost",
        "Cost",
        [
            Text(words),
            Table("What the runs took", _took(study.entries)),
            Table("Machines", _machines(study.entries)),
        ],
    )


def _took(entries: Sequence[Entry]) -> pd.DataFrame:
    """What each run took; a line a run, as texts."""
    lines = []
    for entry in entries:
        timing, network = entry.timing, entry.config.get("network", {})
        line = {"run": entry.name, "epochs": str(len(timing) or "–")}
        line |= dict.fromkeys(
            ("s an epoch", "s in all", "images", "images a s", "peak memory"), tables.NOT_RECORDED
        )
        if not timing.empty:
            seconds, images = float(timing["seconds"].sum()), int(timing["images"].sum())
            line["s an epoch"] = f"{timing['seconds'].mean():.1f}"
            line["s in all"] = f"{seconds:.0f}"
            line["images"] = f"{images}"
            line["images a s"] = f"{images / seconds:.1f}" if seconds else "–"
            line["peak memory"] = f"{timing['peak_memory_mb'].max():.0f} MB"
        parameters, gflops = network.get("parameters"), network.get("gflops")
        line["parameters"] = f"{parameters / 1e6:.2f} M" if parameters else tables.NOT_RECORDED
        line["GFLOPs"] = f"{gflops:.2f}" if gflops else tables.NOT_RECORDED
        line["computed in"] = str(entry.config.get("precision", tables.NOT_RECORDED))
        lines.append(line)
    return pd.DataFrame(lines)


def _machines(entries: Sequence[Entry]) -> pd.DataFrame:
    """Where each run was trained; a line a machine, as texts."""
    found: dict[tuple[str, ...], list[str]] = {}
    for entry in entries:
        machine, versions = entry.config.get("machine", {}), entry.config.get("versions", {})
        memory = machine.get("memory_gb")
        facts = (
            str(machine.get("processor", tables.NOT_RECORDED)),
            str(machine.get("cores", tables.NOT_RECORDED)),
            f"{memory:g} GB" if memory else tables.NOT_RECORDED,
            str(entry.config.get("device", tables.NOT_RECORDED)),
            str(versions.get("platform", tables.NOT_RECORDED)),
        )
        found.setdefault(facts, []).append(entry.name)
    lines = [[*facts, ", ".join(runs)] for facts, runs in found.items()]
    columns = ["processor", "cores", "memory", "device", "system", "runs"]
    return pd.DataFrame(lines, columns=columns)
