"""What finished runs say of photographs: probabilities, masks, and one page. No diagnosis.

    python predict.py photo.jpg folder/                       by the runs in model/released/
    python predict.py folder/ --runs 3-1-s0,seg-6-s0 --out there
    python predict.py --learn-features 3-1-s0                 so that it marks photos unlike its own
    python predict.py --export onnx 3-1-s0                    its network, to be used elsewhere

Several classifiers give the mean of their probabilities. Photos are answered one after the other;
stopped at any time, the same command goes on. The exit status is 0 on success, 1 where files could
not be used (they are named at the end), 2 for a wrong command, 130 after Ctrl-C. What the numbers
mean: docs/predict.md. Research and teaching only.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import experiments
from utils import data, photographs, system
from utils.system import console, values
from utils.system.project import PROJECT


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    line.add_argument("photos", nargs="*", metavar="PHOTO", help="photos, or folders of photos")
    runs = "run folders, by name or path, separated by commas; default all in model/released"
    line.add_argument("--runs", metavar="RUN,RUN", help=runs)
    out = "folder for table, page and pictures; default model/photos-<runs>; or the exported file"
    line.add_argument("--out", metavar="DIR", help=out)
    line.add_argument("--device", default="auto", help="auto (default), cpu, cuda or mps")
    export = "write a run's network as one file; default model.onnx or model.pt2 in its folder"
    line.add_argument("--export", nargs=2, metavar=("onnx|torch", "RUN"), help=export)
    learn = "write what a run knows of its training images into its folder"
    line.add_argument("--learn-features", metavar="RUN", help=learn)
    line.add_argument(
        "--data-dir", help="with --learn-features: the folder of ISIC 2017, or 'demo'"
    )
    return line


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the head of this file. Returns the exit status."""
    console.begin()
    line = parser()
    options = line.parse_args(arguments)
    asked = (options.photos, options.learn_features, options.export)
    if sum(map(bool, asked)) != 1:
        line.error("name photos or folders of photos, or a run with --learn-features or --export.")
    try:
        work = next(do for do, one in zip((_answer, _learn, _export), asked, strict=True) if one)
        return work(options)
    except (ValueError, BlockingIOError) as error:
        line.error(str(error))
    except OSError as error:  # a full disk, for instance
        sys.stderr.write(f"{error}\n")
    except KeyboardInterrupt:
        console.say("stopped; what is answered is kept, and the same command goes on.")
        return 130
    return 1


def _answer(options: argparse.Namespace) -> int:
    paths = photographs.given(options.photos) or []
    runs = photographs.find_runs(options.runs)
    usual = PROJECT / "model" / f"photos-{'+'.join(Path(name).name for name in runs)}"
    folder = values.folder("--out", options.out, usual)
    models = photographs.models_of(_loaded(runs, options.device))
    outcome = photographs.predict(paths, models, folder)
    photographs.uploads.show(outcome, models)
    return int(bool(outcome.faults))


def _learn(options: argparse.Namespace) -> int:
    runs = photographs.find_runs(options.learn_features)
    data_dir = data.locate(options.data_dir)
    for run, experiment, network in _loaded(runs, options.device).values():
        path = photographs.learn(run, network, experiment, data_dir)
        known = photographs.unlike.read(run)
        console.say(f"{path}: {known.said if known else ''}")
    return 0


def _export(options: argparse.Namespace) -> int:
    kind, name = options.export
    runs = photographs.find_runs(name)
    path = None if options.out is None else values.path("--out", options.out, "file")
    photographs.export.require(kind, runs, path)
    photographs.export.export(kind, photographs.models_of(_loaded(runs, "cpu")), path)
    return 0


def _loaded(runs: dict[str, Any], device: str) -> "dict[str, photographs.answers.Loaded]":
    """The runs with their experiments, and their networks with the best weights."""
    import nets  # these two load torch, which --help does not need
    from utils import model

    try:
        place = model.choose_device(device)
    except model.DeviceError as error:
        raise system.RunError(str(error)) from error
    loaded = {}
    for name, run in runs.items():
        experiment = experiments.restore(run.config["row"])
        if experiment.task == "labels" and experiment.name in experiments.UNTRAINED:
            raise system.RunError(
                f"{run.path} has no network that sees a photograph ({experiment.network}); "
                "expected runs with a trained one: name them, of an ensemble its other members."
            )
        options = experiment.network_options(nets.options(experiment.network))
        network = nets.build(experiment.network, getattr(experiment, "num_classes", 1), **options)
        model.load_weights(network, run / "best.safetensors")
        loaded[name] = run, experiment, model.placed(network, place).eval()
    return loaded


if __name__ == "__main__":
    sys.exit(main())
