"""Patches made on the device are those that workers make."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_run import CONFIG, train

from utils import data
from utils.data import loaders, resident, store
from utils.data.masks import TrainingMasks
from utils.data.patches import TrainingPatches
from utils.logger import RunFolder
from utils.system.errors import RunError
from utils.system.size import Size

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def trained(prepared: store.Store, task: str, side: int = 48) -> loaders.TrainingSet:
    images = prepared.index.assign(mask="there")
    if task == "labels":
        transform = data.patches.training_transform(side, (0.4, 0.8, 1.0), 0.2)
        return TrainingPatches(prepared, images, transform, seed=3)
    return TrainingMasks(prepared, images, data.masks.training_transform(Size(side, side), 0.2), 3)


def pair(dataset: loaders.TrainingSet, size: int = 8) -> tuple[list[dict], list[dict]]:
    """The batches of an epoch, from workers' code and from the device."""
    ways = data.training_loader(dataset, size, 0), resident.ResidentLoader(dataset, size, DEVICE)
    for loader in ways:
        loader.sampler.start_at(2, skip=size)
    assert len(ways[0]) == len(ways[1])
    mine, theirs = (list(loaders.batches(loader)) for loader in ways)
    return mine, [{name: value.cpu() for name, value in batch.items()} for batch in theirs]


@pytest.mark.parametrize("task", ["labels", "masks"])
@pytest.mark.parametrize("side", [48, 13])  # 13 px: images are halved once or twice before
def test_the_same_pixels_whoever_makes_them(task: str, side: int, demo_store: store.Store) -> None:
    ours, theirs = pair(trained(demo_store, task, side))
    assert len(ours) == len(theirs) > 2
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one["index"], other["index"])
        assert one["image"].shape == other["image"].shape
        assert other["image"].dtype == torch.uint8
        assert other["image"].is_contiguous(memory_format=torch.channels_last)
        difference = (one["image"].int() - other["image"].int()).abs().float()
        assert difference.mean() < 0.5
        if task == "labels":
            assert torch.equal(one["label"], other["label"])
        else:
            assert other["label"].dtype == torch.uint8
            assert (one["label"] != other["label"]).float().mean() < 0.01


def test_a_batch_of_one_is_dropped_unless_it_is_the_only_one(demo_store: store.Store) -> None:
    dataset = trained(demo_store, "labels")
    for size in (len(dataset) - 1, len(dataset), len(dataset) + 5):
        loader = resident.ResidentLoader(dataset, size, DEVICE)
        assert [len(batch["index"]) for batch in loader] == [min(size, len(dataset))]


def test_it_stays_resident_where_there_is_room(
    demo_store: store.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, cuda = trained(demo_store, "masks"), torch.device("cuda")
    height, width = demo_store.shape
    needed = len(dataset) * height * width * 4
    for free, room in ((3 * needed, True), (3 * needed - 3, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, free))
        assert resident.room_for(dataset, cuda) is room
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (0, 0))
    assert isinstance(
        data.training_loader(dataset, 8, 0, "auto", cuda), torch.utils.data.DataLoader
    )
    cpu = data.training_loader(dataset, 8, 0, "resident")
    assert isinstance(cpu, resident.ResidentLoader)
    assert isinstance(data.training_loader(dataset, 8, 0, "auto"), torch.utils.data.DataLoader)


def test_an_unknown_way_is_refused(demo_store: store.Store) -> None:
    with pytest.raises(ValueError, match="loader is 'gpu'; expected one of auto, workers, resid"):
        data.training_loader(trained(demo_store, "labels"), 8, 0, "gpu")


RESIDENT = replace(CONFIG, loader="resident", epochs=2)


def test_a_run_goes_on_as_if_nothing_had_happened(
    demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = train(demo_set, tmp_path / "whole", RESIDENT)
    made, count = resident.recoloured, iter(range(10))

    def ends(*given: torch.Tensor) -> torch.Tensor:
        if next(count) == 4:  # in the second epoch
            raise KeyboardInterrupt
        return made(*given)

    monkeypatch.setattr(resident, "recoloured", ends)
    with pytest.raises(KeyboardInterrupt):
        train(demo_set, tmp_path / "ended", RESIDENT)
    monkeypatch.undo()
    assert len((tmp_path / "ended/history.csv").read_text().splitlines()) == 2
    resumed = train(demo_set, tmp_path / "ended", RESIDENT)
    assert resumed.equals(history)
    weights = [load_file(tmp_path / name / "best.safetensors") for name in ("whole", "ended")]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_a_run_that_was_begun_otherwise_is_not_mixed(demo_set: Path, tmp_path: Path) -> None:
    train(demo_set, tmp_path, RESIDENT)
    run = RunFolder(tmp_path)
    assert run.config["loader"] == "resident"
    assert "images are augmented there" in (run / "run.log").read_text(encoding="utf-8")
    other = replace(RESIDENT, loader="workers")
    train(demo_set, tmp_path, other)  # it is finished, nothing is mixed
    run.save_json("config.json", {k: v for k, v in run.config.items() if k != "finished"})
    with pytest.raises(RunError, match=r"begun with loader='resident', .* it with loader='resi"):
        train(demo_set, tmp_path, other)
