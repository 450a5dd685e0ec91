"""A trained run as it is handed on: weights in half the bytes, scored anew, with its model card.

    python -m study.release isic2017-light/3-1-s0 isic2017-light/seg-6-s0

makes `model/released/<run>` of each: its weights as fp16, what its notebook predicts and scores by
that file, and the model card (`study.card`) that follows from it. What a network computes stays
fp32: only the file is smaller.
"""

import argparse
import tempfile
from pathlib import Path

import torch

import experiments
from study import archive, card
from study.notebooks import TRAINING, CellError, parameters_of, run_notebook
from utils import data
from utils.evaluation import fitting
from utils.evaluation.out_of_fold import RELEASED
from utils.logger.run import RunFolder
from utils.model.checkpoints import read_weights, save_tensors
from utils.system import console, project
from utils.system.errors import DataError, RunError
from utils.system.files import write_atomic

TRAINED = ("history.csv", "timing.csv")  # by the weights as they were


def release(run: RunFolder, data_dir: Path, to: Path = RELEASED) -> RunFolder:
    """The released form of a finished run, in a folder of its name.

    RunError where the run is not finished, was released before, or has weights that fp16 cannot
    hold; CellError where its notebook fails.
    """
    folder = to / run.path.resolve().name
    if not run.finished:
        raise RunError(f"{run.path} is not finished; train it to its end, then release it.")
    if (known := run.config["data"]["set"]) != (here := data.note(data_dir)):
        raise RunError(
            f"{run.path} was trained on {known}, and {data_dir} is {here}; name its data with "
            "--data-dir."
        )
    if folder.exists():
        raise RunError(f"{folder} exists; move it away to release this run in its place.")
    experiment = experiments.restore(run.config["row"])
    notebook = TRAINING[experiment.task]
    names = [name for name in parameters_of(notebook) if hasattr(experiment, name)]
    settings = {name: getattr(experiment, name) for name in names}
    with tempfile.TemporaryDirectory() as scratch:
        half = RunFolder(Path(scratch) / folder.name)
        half.save_json("config.json", run.config)
        for name in TRAINED:
            write_atomic(half / name, (run / name).read_bytes())
        _save_half(run, half / "best.safetensors")
        given = {
            "experiment": experiment.name,
            "data_dir": str(data_dir),
            "run_dir": str(half.path),
        }
        run_notebook(notebook, half.path, settings | given | {"resume": "auto"})
        archive.copy(half, folder)
        for file in half.path.glob("thresholds-*.csv"):  # which a curve needs where no images are
            write_atomic(folder / file.name, file.read_bytes())
        write_atomic(folder / "best.safetensors", (half / "best.safetensors").read_bytes())
    released = RunFolder(folder)
    people = data.read(data_dir)[["id", "age", "sex"]]
    known = fitting.predictions(released, experiment).table if experiment.task == "labels" else None
    write_atomic(released / "README.md", card.of(released, people, known).encode())
    return released


def _save_half(run: RunFolder, file: Path) -> None:
    """Write the run's weights as fp16. RunError for one that is too large for it."""
    tensors, largest = read_weights(run / "best.safetensors"), torch.finfo(torch.float16).max
    for name, tensor in tensors.items():
        if tensor.is_floating_point():  # counters of batches stay as they are
            if (most := tensor.abs().max().item()) > largest:
                raise RunError(
                    f"{run.path}: {name} has a value of {most:.3g}, fp16 reaches {largest:.0f}; "
                    "this run cannot be released."
                )
            tensors[name] = tensor.half()
    save_tensors(tensors, file)


def main(arguments: list[str] | None = None) -> None:
    """`python -m study.release --help` tells the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", help="run folders, or their names under model/")
    parser.add_argument("--data-dir", help="the data set, to predict and score anew")
    chosen = parser.parse_args(arguments)
    console.begin()
    try:
        folder = data.locate(chosen.data_dir)
        for name in chosen.runs:
            places = (Path(name), project.PROJECT / "model" / name)
            path = next((place for place in places if (place / "config.json").is_file()), None)
            if path is None:
                raise RunError(f"{name} is no run folder, and neither is {places[1]}.")
            console.say(f"released: {release(RunFolder(path), folder).path}")
    except (RunError, DataError, CellError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
