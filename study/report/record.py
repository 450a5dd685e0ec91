"""The data, versions and settings of the runs, and their cost.

What may change from one execution to another (times, dates, machines) is in the cost alone.
"""

import datetime
import os
from collections import defaultdict
from collections.abc import Sequence

import pandas as pd

from study.report import tables as tables
from study.report.entries import Entry, Study
from study.report.findings import listed, unique
from study.report.page import Block, Section, Table, Text
from utils.data.labels import class_counts


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
    if teams := [f"{one.name}, the {one.network}" for one in study.entries if one.averaged]:
        blocks.append(Text(f"Nothing was trained for {'; '.join(teams)}."))
    blocks.append(Table("Versions", _versions(study.entries)))
    blocks.append(Text("The machines are named under Cost, with everything else that may change."))
    return Section("record", "Data, settings, versions", blocks)


def _images(study: Study) -> Block:
    if study.images is None:
        return Text(f"The images could not be counted: {study.problem}")
    counts = class_counts(study.images).reset_index(names="split").astype(str)
    counts.columns = [str(name).replace("_", " ") for name in counts.columns]
    lists = "" if study.synthetic or study.own else ", official lists"
    return Table(f"Images of each split{lists}", counts)


def _settings(study: Study) -> pd.DataFrame:
    lines = []
    for entry in study.entries:
        if entry.averaged:
            continue
        given = defaultdict(lambda: "?", entry.experiment)
        start = entry.experiment.get("encoder_from") or entry.experiment.get("weights") or "random"
        trained_on = "synthetic images" if study.synthetic else f"{given['train_list']} list"
        trained_on = study.data if study.own else trained_on
        line = {
            "run": entry.name,
            "network": given["network"],
            "starts from": start,
            "trained on": trained_on,
            "epoch chosen on": "– (the last)" if given["keep"] == "last" else given["select_on"],
            "image size": tables.setting(given["image_size"]),
            "epochs": len(entry.history) or "?",
            "views": given["views"],
            "revision": entry.config.get("git") or tables.NOT_RECORDED,
            "differs from the recipe: value (recipe)": tables.overrides(entry),
        }
        lines.append(line)
    return pd.DataFrame(lines).astype(str)


def _versions(entries: Sequence[Entry]) -> pd.DataFrame:
    """A line a package; the runs are named where they differ."""
    found: dict[str, dict[str, list[str]]] = {}
    for entry in entries:
        for package, version in entry.config.get("versions", {}).items():
            if package != "platform":  # the machine's, not the results'
                found.setdefault(package, {}).setdefault(str(version), []).append(entry.name)
    lines = [
        [package, version, "all" if len(runs) == len(entries) else listed(runs)]
        for package, versions in found.items()
        for version, runs in versions.items()
    ]
    return pd.DataFrame(lines, columns=["package", "version", "runs"])


def cost(study: Study) -> Section:
    """What everything took, where, and when this page was written."""
    now = datetime.datetime.now().astimezone().isoformat(timespec="minutes")
    trained = [e for e in study.entries if not e.timing.empty and not e.averaged]
    seconds = sum(e.timing["seconds"].sum() for e in trained)
    words = (
        f"Page written {now} on {os.cpu_count()} cores. Training took {seconds / 3600:.2f} hours "
        "in all. Images are those that were trained on, over all epochs. GFLOPs: one image, "
        "forward, a multiplication and an addition counted as two."
    )
    took = Table("What the runs took", _took(study.entries))
    return Section("cost", "Cost", [Text(words), took, Table("Machines", _machines(study.entries))])


def _took(entries: Sequence[Entry]) -> pd.DataFrame:
    lines = []
    for entry in entries:
        timing, network = entry.timing, entry.config.get("network", {})
        unknown = "–" if entry.averaged else tables.NOT_RECORDED  # its members took the time
        line = {"run": entry.name, "epochs": str(len(timing) or "–")}
        line |= dict.fromkeys(
            ("s an epoch", "s in all", "images", "images a s", "peak memory", "parameters",
             "GFLOPs", "computed in"), unknown
        )  # fmt: skip
        if entry.averaged:
            line["epochs"] = unknown
        elif not timing.empty:
            seconds, images = float(timing["seconds"].sum()), int(timing["images"].sum())
            line["s an epoch"] = f"{timing['seconds'].mean():.1f}"
            line["s in all"] = f"{seconds:.0f}"
            line["images"] = f"{images}"
            line["images a s"] = f"{images / seconds:.1f}" if seconds else "–"
            line["peak memory"] = f"{timing['peak_memory_mb'].max():.0f} MB"
        if parameters := network.get("parameters"):
            line["parameters"] = f"{parameters / 1e6:.2f} M"
        if gflops := network.get("gflops"):
            line["GFLOPs"] = f"{gflops:.2f}"
        if "precision" in entry.config:
            compiled = ", compiled" * bool(entry.config.get("compiled"))
            line["computed in"] = f"{entry.config['precision']}{compiled}"
        lines.append(line)
    return pd.DataFrame(lines)


def _machines(entries: Sequence[Entry]) -> pd.DataFrame:
    """The machines that the runs were trained on, a line each."""
    lines = []
    for entry in entries:
        machine, versions = entry.config.get("machine", {}), entry.config.get("versions", {})
        memory = machine.get("memory_gb")
        line = {
            "processor": machine.get("processor"),
            "cores": machine.get("cores"),
            "memory": f"{memory:g} GB" if memory else None,
            "device": entry.config.get("device"),
            "system": versions.get("platform"),
            "runs": entry.name,
        }
        lines.append({name: str(value or tables.NOT_RECORDED) for name, value in line.items()})
    table = pd.DataFrame(lines)
    facts = list(table.columns.drop("runs"))
    return table.groupby(facts, sort=False)["runs"].agg(", ".join).reset_index()
