"""Train a lesion segmenter from the command line: Segmentation.ipynb, run without a browser.

    python seg_main.py -n lite -p 1                      Lite-UNet, encoder pretrained
    python seg_main.py -n unet -p 0 --epochs 50          UNet from scratch, 50 epochs
    python seg_main.py -n arl --encoder-from 1-5-s0      ARL-UNet on an encoder of your own
    nohup python seg_main.py -n dense -p 1 > seg.log &   on a server; call it again to resume

Without ISIC 2017 on this machine it trains on a small synthetic set. The run folder holds
everything: settings, weights, history, scores, figures, and the executed notebook as run.html.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any, cast

import experiments
import study
from utils import data, logger, system
from utils.system import values
from utils.system.experiment import Segmentation

ROWS = {"dense": "seg-3", "res": "seg-4", "unet": "seg-1", "arl": "seg-5", "lite": "seg-6"}
YES_NO: dict[str, Any] = {"type": int, "choices": (0, 1)}
# The notebook's parameters that a student may want to change, and what they mean.
MORE: dict[str, dict[str, Any]] = {
    "epochs": {"type": int, "help": "how often every image is seen"},
    "image_size": {"help": "what the network sees, in px: 128, or 336x224 (width x height)"},
    "batch_size": {"type": int, "help": "images a step; fewer need less memory"},
    "learning_rate": {"type": float, "help": "length of a step, for instance 0.0005"},
    "seed": {"type": int, "help": "another number, another training of the same row"},
    "device": {"choices": ("auto", "cpu", "cuda", "mps"), "help": "what computes"},
    "precision": {"choices": ("auto", "fp32", "bf16"), "help": "of the arithmetic"},
    "compile_network": {"choices": ("0", "1", "auto"), "help": "1: torch.compile; auto: try it"},
    "workers": {"type": int, "help": "processes that load images"},
    "loader": {"choices": ("auto", "workers", "resident"), "help": "where images are augmented"},
    "train_list": {"help": "official or extended"},
    "train_images": {"type": int, "help": "train on so many of the images only, drawn by class"},
    "select_on": {"help": "the images that choose the best epoch: holdout or validation"},
    "encoder_from": {"metavar": "RUN", "help": "a classification run of yours, e.g. 1-5-s0"},
    "depth": {"type": int, "help": "of the encoder, for res and arl: 18, 34, 50 …"},
    "loss": {"help": "dice, dice_cross_entropy, dice_squared_cross_entropy or dice_focal"},
    "test_image": {"help": "'whole', 'middle' (the coursework's) or 'unstretched crop'"},
    "views": {"type": int, "help": "test-time flips and turns: 1, 4 or 8"},
    "clean_up": {**YES_NO, "help": "1: keep the largest part of a mask, filled"},
    "save_masks": {**YES_NO, "help": "1: write the masks as PNG files"},
    "allow_missing": {**YES_NO, "help": "1: leave out images that are not there"},
}


def parser() -> argparse.ArgumentParser:
    """The command line: the five original options, then the parameters of the notebook."""
    line = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ", ".join(f"{net} (row {row})" for net, row in ROWS.items())
    net = f"network: {names}; default dense (from scratch it is row seg-2)"
    line.add_argument("-n", "--net", default="dense", choices=ROWS, metavar="NET", help=net)
    start = "1: the encoder starts from ImageNet weights; default 0"
    line.add_argument("-p", "--pretrained", default=0, help=start, **YES_NO)
    again = (
        "1 (default): resume the run if there is one; 0: start again, moving the old folder aside"
    )
    line.add_argument("-c", "--checked", default=1, help=again, **YES_NO)
    line.add_argument("-i", "--id", help="name of the run's folder; default: its row and seed")
    line.add_argument("-m", "--message", help="a note to yourself, kept in config.json")
    more = line.add_argument_group("as in Segmentation.ipynb; by default as in the row")
    recipes = "the recipe; default best on a GPU, light on a CPU, on the synthetic set demo"
    more.add_argument("--profile", choices=experiments.segmentation.RECIPES, help=recipes)
    more.add_argument("--data-dir", help="a data folder, or 'demo' for the synthetic set")
    more.add_argument("--run-dir", help="the run's folder; default model/<set>-<profile>/<id>")
    for name, how in MORE.items():
        more.add_argument(f"--{name.replace('_', '-')}", **how)
    return line


def parameters_of(options: argparse.Namespace, data_dir: Path) -> dict[str, Any]:
    """The parameters of the notebook. ValueError for options that exclude one another."""
    encoder = None if options.encoder_from == "none" else options.encoder_from
    if options.pretrained and options.net == "unet":
        raise ValueError("UNet has no pretrained weights; use -p 0, or another network (-n).")
    if options.pretrained and encoder:
        raise ValueError("-p 1 and --encoder-from both give the encoder weights; use one of them.")
    if options.depth is not None and options.net not in ("res", "arl"):
        raise ValueError(f"--depth is of res and arl alone; leave it out with -n {options.net}.")
    from_scratch = not options.pretrained and not encoder
    parameters = {name: getattr(options, name) for name in (*MORE, "message")}
    flags = [name for name, how in MORE.items() if how.get("choices") == (0, 1)]
    parameters |= {name: bool(parameters[name]) for name in flags if parameters[name] is not None}
    compiled = options.compile_network
    parameters["compile_network"] = {"0": False, "1": True}.get(compiled, compiled)
    if not encoder:
        parameters |= {"encoder_from": "none", "weights": "none" if from_scratch else "imagenet"}
    return parameters | {
        "save_masks": bool(options.save_masks),
        "experiment": "seg-2" if options.net == "dense" and from_scratch else ROWS[options.net],
        "profile": options.profile or logger.usual_profile(data_dir, options.device),
        "data_dir": str(data_dir),
        "resume": "auto" if options.checked else "restart",
    }


def experiment_of(parameters: dict[str, Any]) -> Segmentation:
    """The experiment with these parameters; ValueError for a value that is not allowed."""
    elsewhere = ("experiment", "profile", "data_dir", "run_dir", "resume", "message", "save_masks")
    overrides = {name: value for name, value in parameters.items() if name not in elsewhere}
    if "data_dir" in parameters:
        overrides["splits"] = data.splits_in(Path(parameters["data_dir"]))
    experiment = experiments.get(parameters["experiment"], parameters["profile"], **overrides)
    return cast(Segmentation, experiment)


def folder_of(experiment: Segmentation, data_dir: Path, name: str | None) -> Path:
    """The run's folder, called name. Other initial weights than the row's show: seg-4-scratch-s0.

    ValueError for an invalid name, or the default name of another run.
    """
    usual = experiment_of({"experiment": experiment.name, "profile": experiment.profile})
    start = ""
    if (experiment.weights, experiment.encoder_from) != (usual.weights, usual.encoder_from):
        scratch = "-pretrained" if experiment.weights else "-scratch"
        start = "-own" if experiment.encoder_from else scratch
    own = f"{experiment.name}{start}-s{experiment.seed}"
    name = own if name is None else name
    if not re.fullmatch(r"\w[\w.+-]*", name) or re.search(r"\.\d+$", name):
        raise ValueError(
            f"-i is {name!r}; expected a plain name of letters, digits, '-', '_' and '+', which "
            "does not end in a dot and a number, as folders that were moved aside do."
        )
    row_like = re.fullmatch(r"(.+)-s\d+", name)
    if row_like and row_like[1] in experiments.ROWS and name != own:
        raise ValueError(
            f"-i is {name!r}, the name of another run; this one is {own}, or as you like."
        )
    return logger.models_of(data_dir, experiment.profile) / name


def main(arguments: list[str] | None = None) -> None:
    """The command line; see the head of this file."""
    system.begin()
    line = parser()
    options = line.parse_args(arguments)
    try:
        data_dir = data.locate(options.data_dir)
        parameters = parameters_of(options, data_dir)
        experiment = experiment_of(parameters)
        usual = values.folder("-i", folder_of(experiment, data_dir, options.id))
        path = values.folder("--run-dir", options.run_dir, usual)
    except (ValueError, FileExistsError) as error:
        line.error(str(error))
    notebook = study.notebooks.TRAINING[experiment.task]
    try:
        study.notebooks.run_notebook(notebook, path, parameters | {"run_dir": str(path)})
    except study.notebooks.CellError as error:
        cure = "\nHere resume='restart' is -c 0." * ("resume='restart'" in str(error))
        sys.exit(f"\n{error}{cure}")
    system.say(f"\n{study.outcome.summary(path)}\npage: {path / 'run.html'}")


if __name__ == "__main__":
    main()
