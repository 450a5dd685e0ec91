"""The contenders of `make bench-peers`: all do the same work, and their times are theirs."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

import nets
from bench.peers import comparison, plain, smp_example, turns
from bench.peers.comparison import CONTENDERS, PACKAGES
from bench.peers.job import NETWORKS, Job
from bench.peers.turns import Contender, ContenderError, Epoch
from utils.system.project import PROJECT

PEERS = PROJECT / ".venv-peers"
BY_OTHERS = [
    (task, name) for task, names in CONTENDERS.items() for name in names if name not in PACKAGES
]


@pytest.fixture
def job(demo_rows, tmp_path) -> Job:
    return Job("labels", demo_rows.head(8), 2, 32, 4, line="fp32", folder=tmp_path)


@pytest.mark.whole
@pytest.mark.parametrize(("task", "name"), BY_OTHERS)
def test_a_contender_trains_every_epoch_and_says_what_it_does(task, name, job) -> None:
    contender, ended = import_module(f"bench.peers.{name}"), []
    contender.train(replace(job, task=task), lambda: ended.append(1))
    assert len(ended) == job.epochs
    assert {"fp32", "defaults"} <= set(contender.WAY["lines"].split())
    assert {"reads", "augments", "step", "besides"} < contender.WAY.keys()


@pytest.mark.parametrize("task", CONTENDERS)
def test_all_train_the_same_network(task, job) -> None:
    ours, theirs = nets.build(NETWORKS[task]), replace(job, task=task).network()
    shapes = [sorted(p.shape for p in network.parameters()) for network in (ours, theirs)]
    assert shapes[0] == shapes[1]


def test_lines_are_ours_too(job) -> None:
    for line, expected in {
        "fp32": ("fp32", 0),
        "bf16": ("bf16", 0),
        "defaults": ("auto", None),
    }.items():
        experiment = replace(job, line=line).experiment()
        assert (experiment.precision, experiment.workers) == expected


def test_plain_decodes_every_file_in_every_epoch(job, monkeypatch) -> None:
    opened, original = [], plain.default_loader
    monkeypatch.setattr(
        plain, "default_loader", lambda path: (opened.append(path), original(path))[1]
    )
    plain.train(job, lambda: None)
    assert sorted(opened) == sorted(job.epochs * job.images["image"].tolist())


def test_mask_goes_where_the_image_goes(job, tmp_path, monkeypatch) -> None:
    lesion = np.zeros((96, 128), np.uint8)
    lesion[20:60, 30:90] = 255
    path = str(tmp_path / "lesion.png")
    cv2.imwrite(path, lesion)
    seen = []
    monkeypatch.setattr(smp_example, "loop", lambda _job, loader, *_: seen.extend(loader))
    images = pd.DataFrame({"image": [path] * 8, "mask": [path] * 8})
    smp_example.train(replace(job, task="masks", images=images), lambda: None)
    pixels, masks = (torch.cat(each) for each in zip(*seen, strict=True))
    assert (pixels.shape, masks.shape) == ((8, 3, 32, 32), (8, 1, 32, 32))
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert ((pixels[:, :1] > 0) == (masks > 0)).double().mean() > 0.95


def test_rows_of_few_originals_come_again_with_ids_of_their_own(demo_rows) -> None:
    many = comparison.repeated(demo_rows.head(3), 8)
    assert many["id"].is_unique
    assert many["image"].tolist() == (demo_rows["image"].tolist()[:3] * 3)[:8]


class TestTimes:
    def test_processor_time_is_that_of_all_processes_below(self) -> None:
        burn = "import time\nwhile time.process_time() < 0.5: pass\n"
        contender = SimpleNamespace(process=SimpleNamespace(pid=os.getpid()))
        before = Contender.cpu_seconds(contender)
        subprocess.run([sys.executable, "-c", burn], check=True)
        ended = Contender.cpu_seconds(contender)
        assert ended - before >= 0.4
        command = [sys.executable, "-c", burn + "print(flush=True)\ninput()"]
        with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as alive:
            alive.stdout.readline()
            assert Contender.cpu_seconds(contender) - ended >= 0.4  # ticks are 0.01 s
            alive.communicate("\n")

    @pytest.mark.slow
    def test_a_process_takes_a_turn_and_a_failing_one_is_named(self, job) -> None:
        lacking = replace(job, images=job.images.assign(image="lost.jpg"))
        with turns.started({"plain": job}) as (contender,):
            first = contender.epoch()
            assert first.cpu > 0
            assert first.wall > 0
            assert contender.way == plain.WAY
        assert not contender.process.is_alive()
        message = pytest.raises(ContenderError, match=r"plain: (.|\n)*lost\.jpg")
        with turns.started({"plain": lacking}) as (contender,), message:
            contender.epoch()

    def test_order_is_reversed_every_other_time(self) -> None:
        called = []
        contenders = [
            SimpleNamespace(name=name, epoch=lambda name=name: called.append(name)) for name in "ab"
        ]
        assert turns.race(contenders, 3).keys() == {"a", "b"}
        assert called == ["a", "b", "b", "a", "a", "b"]


TAKEN = {
    "plain": [Epoch(9, 8), Epoch(4, 4), Epoch(4, 4), Epoch(4, 4)],
    "slow": [Epoch(9, 9), Epoch(9, 9), Epoch(9, 9), Epoch(9, 9)],
    "ours": [Epoch(8, 10), Epoch(2, 1), Epoch(2, 1), Epoch(2, 1)],
}


class TestResults:
    def test_an_epoch_after_the_first_by_processor_time(self) -> None:
        first, second = comparison.an_epoch("labels, defaults", TAKEN, 100, fast=True)
        assert (first.compared, first.ours, first.ratio) == (40, 10, 4)
        assert "wall clock 40 and 20, ratio 2.00" in first.note
        assert (first.aim, second.aim) == (2.0, None)  # the aim is about the fastest
        for title, fast in (("labels, fp32", True), ("labels, defaults", False)):
            assert {r.aim for r in comparison.an_epoch(title, TAKEN, 100, fast)} == {None}

    def test_from_nothing_adds_up(self) -> None:
        found = list(comparison.from_nothing("originals", TAKEN))
        sums = {result.measure: (result.compared, result.ours) for result in found}
        title = "from nothing, originals, end of epoch"
        assert sums[f"{title} 1: plain"] == (8, 10)
        assert sums[f"{title} 3: plain"] == (16, 12)
        assert sums[f"{title} 4: slow"] == (36, 13)
        aimed = [result.measure for result in found if result.aim]
        assert aimed == [f"{title} 3: plain"]


def test_what_is_not_installed_is_left_out_in_words(job, monkeypatch, capsys) -> None:
    monkeypatch.setattr(comparison, "find_spec", lambda _name: None)
    names = []
    monkeypatch.setattr(comparison, "started", lambda jobs: names.extend(jobs) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        comparison.compete(job, {})
    assert names == ["plain", "earlier_way", "ours"]
    said = capsys.readouterr()
    assert "fastai is not installed: make bench-peers" in said.out + said.err


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from bench.peers.__main__ import arguments; arguments([]); "
    code += "print('torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.slow
@pytest.mark.skipif(
    not (PEERS.exists() or find_spec("fastai")), reason="needs fastai and MONAI: make bench-peers"
)
@pytest.mark.timeout(1200)  # dozens of processes import torch
def test_all_contenders_race(demo_set, tmp_path) -> None:
    paths = os.pathsep.join([str(PROJECT), str(PEERS), os.environ.get("PYTHONPATH", "")])
    small = (
        "--lines bf16 defaults --images 8 --pairs 8 --originals 8 --batch 4 --epochs 2 --size 32"
    )
    command = [sys.executable, "-m", "bench.peers", *small.split(), "--out", tmp_path / "all.json"]
    command += ["--data-dir", demo_set, "--fullres", demo_set]
    environment = os.environ | {"PYTHONPATH": paths}
    subprocess.run(command, check=True, env=environment, cwd=PROJECT)
    kept = json.loads((tmp_path / "all.json").read_text())
    measured = "\n".join(result["measure"] for result in kept["results"])
    for task, names in CONTENDERS.items():
        for name in set(names) - {"ours"}:
            assert f"CPU, {task}, defaults: {name}" in measured
            assert kept["machine"]["ways"][name]
    assert "CPU, labels, bf16: monai_cache" in measured
    assert "CPU, labels, bf16: earlier_way" not in measured
    assert "from nothing, originals, end of epoch 2: fastai_learner" in measured
