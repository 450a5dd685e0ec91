"""Train a lesion segmenter from the command line: Segmentation.ipynb, run without a browser.

    python seg_main.py -n lite -p 1                      Lite-UNet, encoder pretrained
    python seg_main.py -n unet -p 0 --epochs 50          UNet from scratch, 50 epochs
    python seg_main.py -n arl --encoder-from 1-5-s0      ARL-UNet on an encoder of your own
    nohup python seg_main.py -n dense -p 1 > seg.log &   on a server; call it again to go on

Without ISIC 2017 on this machine it trains on a small synthetic set. Everything a run makes lies in
its run folder: settings, weights, history, scores, figures, and the whole lesson as run.html.
"""

import argparse
import os
import sys
from pathlib import Path

from papermill.exceptions import PapermillExecutionError

import experiments
from reproduce import TRAINING, run_notebook, summary
from utils import console, data

ROWS = {"dense": "seg-3", "res": "seg-4", "unet": "seg-1", "arl": "seg-5", "lite": "seg-6"}
FLAG = {"type": int, "choices": (0, 1)}
AS_THEY_ARE = (
    "epochs",
    "image_size",
    "batch_size",
    "learning_rate",
    "seed",
    "precision",
    "workers",
    "train_list",
    "select_on",
    "encoder_from",
    "views",
    "message",
)


def parser() -> argparse.ArgumentParser:
    """The command line: five options of old, then the parameters of the notebook."""
    line = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ", ".join(f"{net} (row {row})" for net, row in ROWS.items())
    line.add_argument(
        "-n",
        "--net",
        default="dense",
        choices=ROWS,
        metavar="NET",
        help=f"network: {names}; default dense (from scratch it is row seg-2)",
    )
    line.add_argument(
        "-p",
        "--pretrained",
        default=0,
        **FLAG,
        help="1: the encoder starts with ImageNet weights; default 0",
    )
    line.add_argument(
        "-c",
        "--checked",
        default=1,
        **FLAG,
        help="1 (default): go on with the run if it was begun; 0: begin again, and "
        "move the old folder aside",
    )
    line.add_argument("-i", "--id", help="name of the run's folder; default: its row and seed")
    line.add_argument("-m", "--message", help="a note to yourself, kept in config.json")
    more = line.add_argument_group("as in Segmentation.ipynb; by default as in the row")
    more.add_argument(
        "--profile",
        choices=experiments.segmentation.RECIPES,
        help="the recipe; default best, on the synthetic set demo",
    )
    more.add_argument("--data-dir", help="folder of ISIC 2017, or 'demo' for the synthetic set")
    more.add_argument("--run-dir", help="the run's folder; default model/<set>-<profile>/<id>")
    more.add_argument("--epochs", type=int)
    more.add_argument("--image-size", help="what the network sees, in px: 256, or 336x224 (w x h)")
    more.add_argument("--batch-size", type=int)
    more.add_argument("--learning-rate", type=float)
    more.add_argument("--seed", type=int)
    more.add_argument("--precision", help="auto, fp32 or bf16")
    more.add_argument("--compile-network", **FLAG)
    more.add_argument("--workers", type=int, help="processes that load images")
    more.add_argument("--train-list", help="official or extended")
    more.add_argument("--select-on", help="what chooses the epoch: holdout or validation")
    more.add_argument(
        "--encoder-from",
        metavar="RUN",
        help="a classification run whose weights the encoder starts with, e.g. 1-5-s0",
    )
    more.add_argument("--views", type=int, help="test-time flips and turns: 1, 4 or 8")
    more.add_argument("--clean-up", help="1: keep the largest part of a mask, filled", **FLAG)
    more.add_argument("--save-masks", default=0, help="1: write the masks as PNG files", **FLAG)
    more.add_argument("--allow-missing", help="1: leave out images that are not there", **FLAG)
    return line


def parameters_of(chosen: argparse.Namespace, data_dir: Path) -> dict[str, object]:
    """What the command line asks of the notebook. ValueError for what does not go together."""
    if chosen.pretrained and chosen.net == "unet":
        raise ValueError("UNet has no pretrained weights; use -p 0, or another network (-n).")
    if chosen.pretrained and chosen.encoder_from:
        raise ValueError("-p 1 and --encoder-from both give the encoder weights; use one of them.")
    scratch_dense = chosen.net == "dense" and not chosen.pretrained and not chosen.encoder_from
    parameters = {name: getattr(chosen, name) for name in AS_THEY_ARE}
    for name in ("compile_network", "clean_up", "save_masks", "allow_missing"):
        flag = getattr(chosen, name)
        parameters[name] = None if flag is None else bool(flag)
    if chosen.image_size and chosen.image_size.isdecimal():
        parameters["image_size"] = int(chosen.image_size)
    if not chosen.encoder_from:
        parameters["weights"] = "imagenet" if chosen.pretrained else "none"
    return parameters | {
        "experiment": "seg-2" if scratch_dense else ROWS[chosen.net],
        "profile": chosen.profile or ("demo" if data.is_demo(data_dir) else "best"),
        "data_dir": str(data_dir),
        "resume": "auto" if chosen.checked else "restart",
    }


def row_of(parameters: dict[str, object]) -> experiments.Row:
    """The row with these parameters; ValueError for a value that it cannot have."""
    elsewhere = ("experiment", "profile", "data_dir", "run_dir", "resume", "message", "save_masks")
    overrides = {name: value for name, value in parameters.items() if name not in elsewhere}
    return experiments.get(parameters["experiment"], parameters["profile"], **overrides)


def folder_of(row: experiments.Row, data_dir: Path, name: str | None) -> Path:
    """The run's folder, called name. A run that starts unlike its row says so: seg-4-scratch-s0."""
    usual = experiments.get(row.name, row.profile)
    start = ""
    if (row.weights, row.encoder_from) != (usual.weights, usual.encoder_from):
        start = "-own" if row.encoder_from else "-pretrained" if row.weights else "-scratch"
    name = name or f"{row.name}{start}-s{row.seed}"
    return data.PROJECT / "model" / f"{data.set_name(data_dir)}-{row.profile}" / name


def main(arguments: list[str] | None = None) -> None:
    """The command line; see the head of this file."""
    line = parser()
    chosen = line.parse_args(arguments)
    try:
        data_dir = data.locate(chosen.data_dir)
        parameters = parameters_of(chosen, data_dir)
        row = row_of(parameters)
        path = Path(chosen.run_dir or folder_of(row, data_dir, chosen.id)).resolve()
    except (ValueError, FileExistsError) as error:
        line.error(str(error))
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # no debugger here
    try:
        run_notebook(TRAINING[type(row)], path, parameters | {"run_dir": str(path)})
    except PapermillExecutionError as error:
        sys.exit(f"\n{error.ename}: {error.evalue}")
    console.say(f"\n{summary(path)}\npage: {path / 'run.html'}")


if __name__ == "__main__":
    main()
