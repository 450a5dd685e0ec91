"""A run's network as one file that needs none of this code: for ONNX Runtime, or torch.export.

Images (n, H, W, 3) uint8 RGB at the run's image size go in, probabilities of one view come out by
name. Normalisation and temperature are inside; what the file is, its metadata say.
"""

import copy
import importlib.util
import io
import json
import statistics
import time
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from utils.evaluation import fitting
from utils.photographs.answers import CAUTION, Classifier, Models, Segmenter
from utils.system.console import amount, say
from utils.system.errors import RunError, listed
from utils.system.files import require_writable, write_atomic
from utils.system.size import Size

KINDS = {"onnx": "model.onnx", "torch": "model.pt2"}  # and what a file of a kind is called
NEEDED = ("onnx", "onnxruntime", "onnxscript")  # by the kind "onnx", and by nothing else here
ABOUT = "about.json"  # within a file of torch.export: its metadata
CLOSE = 1e-4  # how far a file's probabilities may be from the network's own
ROUNDS = 30  # of timing, one image each
Ask = Callable[[np.ndarray], dict[str, np.ndarray]]  # images (n, H, W, 3) uint8 to probabilities


class Portable(nn.Module):
    """A network that takes pixels as image libraries give them, and answers with probabilities."""

    def __init__(self, network: nn.Module, outputs: dict[str, float], masks: bool) -> None:
        """outputs: the temperature of each answer by its name."""
        super().__init__()
        self.network, self.outputs, self.masks = network, outputs, masks

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(n, H, W, 3) uint8 RGB -> by name (n, C) of classes, or (n, H, W) of lesion."""
        logits = self.network(images.movedim(-1, 1))
        logits = logits[:, 0] if self.masks else logits
        one = self.masks or logits.shape[-1] == 1
        squash = torch.sigmoid if one else nn.Softmax(dim=-1)
        return {name: squash(logits / at) for name, at in self.outputs.items()}


def require(kind: str, runs: Collection[str], path: Path | None) -> None:
    """RunError for an unknown kind, several runs, a path of another ending, missing packages."""
    if kind not in KINDS:
        raise RunError(f"--export {kind}: expected one of {', '.join(KINDS)}.")
    if len(runs) != 1:
        raise RunError(f"--export writes one run, and these are {listed(runs)}; name one of them.")
    ending = Path(KINDS[kind]).suffix
    if path is not None and path.suffix != ending:
        raise RunError(f"--out is {path}; expected a file whose name ends in {ending}.")
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if kind == "onnx" and missing:
        raise RunError(
            f"--export onnx needs {listed(NEEDED)}, and {listed(missing)} is not installed; "
            "install them (pip install '.[onnx]'), or use --export torch, which needs nothing more."
        )


def export(kind: str, models: Models, path: Path | None = None) -> Path:
    """Write the one run of models to path, by default beside its weights; say how fast the file is.

    Its network is on the CPU. RunError for a baseline, which has none that is trained, and for a
    file that answers otherwise than the network.
    """
    (one,) = models.runs.values()
    if not any(parameter.requires_grad for parameter in one.network.parameters()):
        raise RunError(f"{one.run.path} is a baseline; expected a run with a trained network.")
    path = path or one.run / KINDS[kind]
    require_writable(path)
    outputs = {"lesion_probabilities" if models.segmenters else "probabilities": 1.0}
    if isinstance(one, Classifier) and one.temperature is not None:
        outputs["calibrated_probabilities"] = one.temperature
    portable = Portable(one.network, outputs, bool(models.segmenters)).eval()
    about = _about(one, models.classes, outputs)
    width, height = json.loads(about["image_size"])
    images = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), np.uint8)
    write = _onnx if kind == "onnx" else _torch
    answers, ours = write(_program(portable, images), about, path), _eager(portable)
    theirs, own = answers(images), ours(images)
    apart = max(float(np.abs(theirs[name] - own[name]).max()) for name in outputs)
    if not apart <= CLOSE:
        path.unlink()
        raise RunError(
            f"{path} would answer up to {apart:.2g} otherwise than the network, expected at most "
            f"{CLOSE}; it was removed. Use the other of {', '.join(KINDS)}."
        )
    say(f"{path}: {amount(path.stat().st_size)}, at most {apart:.1g} from the network. {CAUTION}")
    if kind == "onnx":
        say(_speeds(ours, answers, images[:1]))
    return path


def _program(portable: Portable, images: np.ndarray) -> torch.export.ExportedProgram:
    """The computation for any number of such images, without paths of this machine.

    RunError for a network that takes different ways for different images.
    """
    plain = copy.deepcopy(portable).to(memory_format=torch.contiguous_format)
    any_number = ({0: torch.export.Dim("n", min=1)},)
    try:
        program = torch.export.export(plain, (torch.from_numpy(images),), dynamic_shapes=any_number)
    except Exception as error:  # of any kind
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise RunError(
            f"torch.export cannot write this network as one computation ({reason}); export a run "
            "with another network."
        ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def _eager(portable: nn.Module) -> Ask:
    return torch.inference_mode()(
        lambda images: {k: p.numpy() for k, p in portable(torch.from_numpy(images)).items()}
    )


def _about(
    one: Classifier | Segmenter, classes: tuple[str, ...], outputs: dict[str, float]
) -> dict[str, str]:
    """What the file says of itself; sizes, outputs and classes are lists in JSON."""
    experiment = one.experiment
    sizes = {name: Size.parse(getattr(experiment, name)) for name in ("stored_size", "image_size")}
    about = {
        "caution": CAUTION,
        "run": one.run.path.name,
        "row": experiment.name,
        "network": experiment.network,
        "task": experiment.task,
        "trained_on": str(one.run.config.get("data", {}).get("set")),
        "input": "images (n, height, width, 3), uint8 RGB, each resized to image_size",
        "outputs": json.dumps([*outputs]),
        **{name: json.dumps([*size]) for name, size in sizes.items()},
    }
    if isinstance(one, Segmenter):
        seen = one.experiment.test_image
        return about | {"test_image": seen, "threshold": str(one.experiment.threshold)}
    about |= {"classes": json.dumps([*classes]), "temperature": str(one.temperature)}
    found = fitting.predictions(one.run, experiment).said(one.temperature)
    said = f"{found}; views averaged there: {experiment.views}"
    return about | {"fitted": said if one.temperature else "nothing was fitted"}


def _onnx(program: torch.export.ExportedProgram, about: dict[str, str], path: Path) -> Ask:
    import onnxruntime

    made = torch.onnx.export(program, input_names=["images"], dynamo=True, verbose=False)
    assert made is not None  # only without dynamo
    made.model.metadata_props.update(about)
    for node in made.model.graph:
        node.metadata_props.clear()  # names of modules, longer than the graph itself
    names = json.loads(about["outputs"])
    for output, name in zip(made.model.graph.outputs, names, strict=True):
        output.name = name
    write_atomic(path, made.model_proto.SerializeToString())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that wait busily would slow down what is timed in turn with them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: dict(zip(names, session.run(names, {"images": images}), strict=True))


def _torch(program: torch.export.ExportedProgram, about: dict[str, str], path: Path) -> Ask:
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={ABOUT: json.dumps(about)})
    write_atomic(path, file.getvalue())
    return _eager(torch.export.load(path).module())


def _speeds(eager: Ask, runtime: Ask, image: np.ndarray) -> str:
    """Medians of both for one image, measured in turns after two rounds to warm up."""
    seconds: dict[Ask, list[float]] = {eager: [], runtime: []}
    for _ in range(ROUNDS + 2):
        for ask, times in seconds.items():
            begun = time.perf_counter()
            ask(image)
            times.append(time.perf_counter() - begun)
    slow, fast = (1000 * statistics.median(times[2:]) for times in seconds.values())
    return (
        f"one image on this CPU, {torch.get_num_threads()} thread(s), median of {ROUNDS} in turns: "
        f"ONNX Runtime {fast:.1f} ms, eager PyTorch {slow:.1f} ms, {slow / fast:.2f} times as long."
    )
