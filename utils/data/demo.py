"""Synthetic dermoscopy in the official ISIC 2017 tree: a demo set that needs no download.

Skin and lesion are densities of melanin and blood, which the Beer-Lambert law turns into colour.
The painter never sees a class, which only shifts the distribution of ten cue strengths, so that
classes overlap as the real ones do. While being painted, an image is (3, H, W), RGB in 0..1.
"""

import json
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

ABOUT = "synthetic demo data"
MARKER = "demo.json"  # says what the folder is, and the parameters it was made with
VERSION = 1  # raise it when the pictures change: older demo sets are then replaced
SPLITS = ("Training", "Validation", "Test_v2")  # the position enters every id and image seed
FEWEST = 8  # images in a split, so that it holds all classes
SHARES = (0.20, 0.15, 0.65)  # melanoma, seborrheic keratosis, benign: near the real ones
AGES = ((12.3, 3.2), (13.0, 2.6), (8.5, 3.7))  # mean, deviation (times 5 years), as in ISIC 2017
CUES = {  # mean strength of each cue, same order
    "size": (0.55, 0.45, 0.42),
    "asymmetry": (0.72, 0.38, 0.18),
    "ragged": (0.74, 0.25, 0.17),
    "colours": (0.72, 0.24, 0.12),
    "dark": (0.62, 0.35, 0.45),
    "sharp": (0.45, 0.80, 0.30),
    "waxy": (0.10, 0.75, 0.08),
    "dots": (0.10, 0.70, 0.10),
    "network": (0.35, 0.08, 0.40),
    "patch": (0.05, 0.05, 0.12),
}
MELANIN = np.array([0.55, 1.0, 1.5], np.float32)[:, None, None]  # absorption of red, green, blue
BLOOD = np.array([0.12, 0.85, 0.75], np.float32)[:, None, None]
PLUG, INK = (0.22, 0.13, 0.08), (0.15, 0.12, 0.12)


def _noise(rng: np.random.Generator, shape: tuple, cells: float, octaves: int = 1) -> np.ndarray:
    """Smooth noise (H, W), mean 0, deviation 1, with about `cells` bumps along the height."""
    total: np.ndarray = np.zeros((2, 2), np.float32)
    for octave in range(octaves):
        rows = max(2, round(cells * 2**octave)) + 2
        grid = rng.standard_normal((rows, rows * shape[1] // shape[0]), np.float32) / 2**octave
        total = grid + cv2.resize(total, grid.shape[::-1], interpolation=cv2.INTER_CUBIC)
    total = cv2.resize(total, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return (total - total.mean()) / total.std()


def _blend(rgb: np.ndarray, colour: Sequence[float] | np.ndarray, opacity: np.ndarray) -> None:
    """Cover `rgb` in place with `colour`, wholly where `opacity` (H, W) is 1 or more."""
    rgb += np.clip(opacity, 0, 1) * (np.array(colour, np.float32)[:, None, None] - rgb)


def _lesion(rng: np.random.Generator, shape: tuple, cues: dict) -> tuple[np.ndarray, np.ndarray]:
    """Field (H, W), 0 on the border and rising by 1 per radius, and the mask (0/1) inside it."""
    height, width = shape
    area = 0.05 * (0.4 / 0.05) ** cues["size"]
    radius = float(np.sqrt(area * width / height / np.pi))
    y, x = np.mgrid[:height, :width].astype(np.float32) / height
    z = x + 1j * y - rng.uniform(0.44, 0.56) * width / height - 1j * rng.uniform(0.44, 0.56)
    angle, edge = np.angle(z), np.ones(shape, np.float32)
    for order in (2, 3, 4, 5):
        bulge = (0.05 + 0.6 * cues["asymmetry"]) * rng.uniform(0.2, 1) / order**1.5
        edge += bulge * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    field = 1 - np.abs(z) / (edge * radius)
    field += (0.03 + 0.20 * cues["ragged"]) * _noise(rng, shape, 1.6 / radius, 4)
    field -= np.float32(np.quantile(field, 1 - area))  # whatever the shape, it has the drawn area
    inside = (field > 0).astype(np.uint8)
    pieces = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    mask = cv2.drawContours(inside * 0, [max(pieces, key=cv2.contourArea)], 0, 1, cv2.FILLED)
    return np.where(mask, np.abs(field), field), mask  # a hole in the field is lesion, too


def _pigment(rng: np.random.Generator, field: np.ndarray, cues: dict) -> tuple:
    """Melanin, blood and the opacity of a blue-white veil, each (H, W), as if lesion everywhere."""
    shape = field.shape
    melanin = (0.3 + 1.3 * cues["dark"]) * (0.9 + 0.5 * np.clip(field, 0, 1))
    uneven = (0.08 + 0.25 * cues["asymmetry"]) * _noise(rng, shape, 2)
    melanin *= np.exp(uneven + rng.uniform(0.1, 0.35) * _noise(rng, shape, rng.uniform(8, 16), 4))
    mesh = np.exp(-np.square(_noise(rng, shape, rng.uniform(24, 40)) / 0.5))  # where noise is 0
    melanin *= (1 + cues["network"] * (0.8 * mesh - 0.4)) * (1 - 0.4 * cues["waxy"])
    parts = [0.7 * _noise(rng, shape, 4, 4) - 0.7 + 1.05 * cues["colours"] for _ in range(4)]
    scale = cues["colours"] ** 0.5
    black, red, veil, white = (rng.uniform(0.4, 1) * scale * part.clip(0, 1) for part in parts)
    melanin = (melanin + 2.2 * black) * (1 - 0.8 * white) * (1 - 0.5 * red)
    return melanin, 0.25 * rng.random() + 0.9 * red, veil


def _keratin(rng: np.random.Generator, rgb: np.ndarray, alpha: np.ndarray, cues: dict) -> None:
    """Wax with gyri, milia (white dots) and plugged openings (dark dots) on `rgb` in place."""
    shape, waxy = alpha.shape, cues["waxy"] * alpha
    dull = np.array([0.62, 0.48, 0.36], np.float32) * np.exp(
        rng.normal(-0.05, 0.15) + rng.normal(0, 0.08, 3)
    )
    _blend(rgb, dull, waxy * (0.55 + 0.15 * _noise(rng, shape, 8, 4)))
    gyri = np.exp(-np.square(_noise(rng, shape, rng.uniform(8, 16), 3) / 0.7))
    rgb *= 1 - 0.38 * waxy * gyri
    for colour, opacity in (((0.93, 0.88, 0.74), 0.65), (PLUG, 0.8)):
        rarity = 3.1 - 1.7 * cues["dots"] * rng.uniform(0.5, 1)  # in deviations of the noise
        dots = np.clip(1.5 * (_noise(rng, shape, rng.uniform(18, 30)) - rarity) + 0.5, 0, 1)
        _blend(rgb, colour, opacity * dots * alpha)


def _frame(rng: np.random.Generator, rgb: np.ndarray, cues: dict) -> np.ndarray:
    """Lamp, vignette and patch on `rgb` in place; returns where skin is visible (H, W)."""
    height, width = rgb.shape[1:]
    y, x = np.mgrid[:height, :width].astype(np.float32) / height - 0.5
    distance = np.hypot(x - rng.normal((width / height - 1) / 2, 0.03), y - rng.normal(0, 0.03))
    fall = 1 + rng.normal(0, 0.1) * x + rng.normal(0, 0.1) * y - 0.35 * rng.random() * distance**2
    rgb *= fall * np.float32(rng.uniform(0.78, 1.05) * np.exp(rng.normal(0, 0.05, (3, 1, 1))))
    aperture = rng.uniform(0.55, 0.9) if rng.random() < 0.25 else 2
    shadow = (distance - aperture) / rng.uniform(0.01, 0.1) + 0.5
    _blend(rgb, (0.03, 0.03, 0.04), shadow)
    patch = np.zeros((height, width), np.uint8)
    if rng.random() < cues["patch"]:
        centre = round(width * rng.choice((-0.05, 1.05))), round(height * rng.random())
        cv2.circle(patch, centre, round(height * rng.uniform(0.2, 0.35)), 1, cv2.FILLED)
        _blend(rgb, rng.permutation((0.25, 0.5, 0.8)), patch)
    return (shadow < 0.5) & (patch == 0)


def _overlay(rng: np.random.Generator, rgb: np.ndarray) -> None:
    """Curved hairs and a ruler over `rgb` in place, each in two of five pictures."""
    height, width = rgb.shape[1:]
    # Lines are points x + iy in image heights, so that turning is multiplying.
    each, steps = (int(1 + 30 * rng.random() ** 2) * (rng.random() < 0.4), 1), np.linspace(0, 1, 20)
    roots = rng.uniform(-0.1, 1.1, each) * width / height + 1j * rng.uniform(-0.1, 1.1, each)
    paths = rng.uniform(0.1, 1.1, each) * steps + 1j * rng.normal(0, 0.3, each) * steps**2
    hairs = roots + paths * np.exp(1j * (rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.7, each)))
    along = rng.uniform(0.4, 0.7) * np.exp(1j * rng.normal(0, 0.4))
    middle = rng.uniform(0.4, 0.6) * width / height + 1j * rng.choice((0.1, 0.9))
    marks = middle + along * np.linspace(-0.5, 0.5, 11)
    ruler = [marks, *np.stack([marks, marks - 0.06j * along], 1)] if rng.random() < 0.4 else []
    shade, thickness = np.array(PLUG, np.float32) * rng.uniform(0.2, 1.8), rng.uniform(0.004, 0.014)
    for lines, colour, pen in ((hairs, shade, thickness), (ruler, INK, 0.008)):
        layer = np.zeros((2 * height, 2 * width), np.uint8)  # twice as fine, for thin lines
        points = [(np.stack([z.real, z.imag], 1) * 32 * height).astype(np.int32) for z in lines]
        cv2.polylines(layer, points, False, 255, max(1, round(pen * height)), cv2.LINE_AA, shift=4)
        layer = cv2.resize(layer, (width, height), interpolation=cv2.INTER_AREA)
        _blend(rgb, colour, layer * np.float32(rng.uniform(0.5, 0.95) / 255))


def paint(rng: np.random.Generator, cues: dict, size: tuple[int, int]) -> tuple:
    """Image (H, W, 3), RGB, and lesion mask (H, W), 0/255, both uint8; cue strengths in 0..1."""
    shape = size[1], size[0]
    melanin = (0.04 + 0.5 * rng.beta(1.2, 4)) * (1 + 0.12 * _noise(rng, shape, 5, 6))
    freckles = np.maximum(_noise(rng, shape, rng.uniform(5, 10), 3) - rng.uniform(1.3, 3), 0)
    vessels = rng.uniform(0.05, 0.25) * _noise(rng, shape, rng.uniform(6, 20), 5)
    blood = (0.04 + 0.4 * rng.beta(1.3, 3)) * (1 + vessels)
    field, mask = _lesion(rng, shape, cues)
    near = cv2.GaussianBlur(
        cv2.dilate(mask, np.ones((3, 3), np.uint8), iterations=5).astype(np.float32), (0, 0), 3
    )
    alpha = near * np.clip(field / (1.2 * 0.06 ** cues["sharp"]) + 0.5, 0, 1)
    more_melanin, more_blood, veil = _pigment(rng, field, cues)
    melanin, blood = melanin + alpha * more_melanin, blood + alpha * more_blood
    rgb = np.exp(-np.maximum(melanin + 0.15 * freckles, 0) * MELANIN - np.maximum(blood, 0) * BLOOD)
    _blend(rgb, (0.42, 0.47, 0.56), 0.8 * veil * alpha)
    _keratin(rng, rgb, alpha, cues)
    seen = _frame(rng, rgb, cues)
    _overlay(rng, rgb)
    image = cv2.GaussianBlur(cv2.merge(rgb), (0, 0), rng.uniform(0.3, 0.7))
    image += rng.uniform(0.002, 0.008) * rng.standard_normal(image.shape, np.float32)
    return np.clip(image * 255, 0, 255).astype(np.uint8), mask * seen * np.uint8(255)


def sample(seed: int, split: str, index: int, size: tuple[int, int] = (192, 144)) -> tuple:
    """Image and mask as in `paint`, class 0..2, age and sex: a pure function of the arguments."""
    place = SPLITS.index(split)
    # The golden-ratio sequence fills 0..1 so evenly that any FEWEST neighbours cover all classes.
    point = (np.random.default_rng([seed, place]).random() + index * (5**0.5 - 1) / 2) % 1
    label = int(np.searchsorted(np.cumsum(SHARES[:2]), point, side="right"))
    rng, means = np.random.default_rng([seed, place, index]), np.array(list(CUES.values()))
    typical = rng.beta(5, 1)  # 0: no cue shows the class
    mean = typical * means[:, label] + (1 - typical) * means.mean(1)
    cues = dict(zip(CUES, rng.beta(4 * mean, 4 - 4 * mean).tolist(), strict=True))
    age = 5 * min(max(round(rng.normal(*AGES[label])), 1), 17) if rng.random() < 0.87 else "unknown"
    sex = ("male", "female", "unknown")[rng.choice(3, p=(0.45, 0.44, 0.11))]
    return *paint(rng, cues, size), label, age, sex


def _write_split(folder: Path, split: str, seed: int, size: tuple[int, int], count: int) -> None:
    """Write all files of one split below `folder`."""
    images, masks, labels, people = (
        folder / f"ISIC-2017_{split}_{name}"
        for name in ("Data", "Part1_GroundTruth", "Part3_GroundTruth.csv", "Data_metadata.csv")
    )
    images.mkdir(parents=True)
    masks.mkdir()

    def write(index: int) -> tuple[str, str]:
        image, mask, label, age, sex = sample(seed, split, index, size)
        name = f"DEMO_{SPLITS.index(split) * 1_000_000 + index + 1:07d}"
        jpeg = cv2.imencode(".jpg", image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 92))[1]
        (images / f"{name}.jpg").write_bytes(jpeg.tobytes())
        png = cv2.imencode(".png", mask)[1]
        (masks / f"{name}_segmentation.png").write_bytes(png.tobytes())
        return f"{name},{int(label == 0)},{int(label == 1)}\n", f"{name},{age},{sex}\n"

    heads = "image_id,melanoma,seborrheic_keratosis\n", "image_id,age_approximate,sex\n"
    with ThreadPoolExecutor() as pool:  # OpenCV and NumPy release Python's lock
        lines = zip(heads, *pool.map(write, range(count)), strict=True)
        for file, column in zip((labels, people), lines, strict=True):
            file.write_text("".join(column), newline="\n")


def _is_current(folder: Path, record: str, images: int) -> bool:
    """Whether `folder` holds this complete set; FileExistsError if it holds anything but a set."""
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    existing = (folder / MARKER).read_text(errors="replace") if MARKER in names else ""
    if names and ABOUT not in existing:
        raise FileExistsError(
            f"{folder} holds {', '.join(names[:5])}, but no {MARKER} that says '{ABOUT}', so it is "
            "not overwritten. Name another folder for the demo set, or move this one away."
        )
    files = [*folder.glob("*_Data/*.jpg"), *folder.glob("*_Part1_GroundTruth/*.png")]
    return existing == record and sum(file.stat().st_size > 0 for file in files) == 2 * images


def generate(
    folder: Path,
    *,
    train: int = 480,
    validation: int = 120,
    test: int = 120,
    size: tuple[int, int] = (192, 144),
    seed: int = 0,
) -> Path:
    """Make the demo set in `folder` unless it exists; `size` is (width, height) in px.

    A count of 0 leaves the split out. Another demo set is replaced completely, anything else raises
    FileExistsError. The folder appears only when it is complete.
    """
    counts = train, validation, test
    if not any(counts) or any(0 != count < FEWEST for count in counts) or min(size) < 32:
        raise ValueError(f"got {counts} of size {size}: give 0 or >= {FEWEST} a split, sides >= 32")
    folder = Path(folder).absolute()
    settings = {"version": VERSION, "seed": seed, "size": size, "counts": counts}
    record = json.dumps({"about": ABOUT, **settings})
    if _is_current(folder, record, sum(counts)):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    # An interruption removes the scratch folder; a kill leaves it, but nothing reads it.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        fresh = Path(scratch) / "fresh"
        for split, count in zip(SPLITS, counts, strict=True):
            if count:
                _write_split(fresh, split, seed, size, count)
        (fresh / "README.txt").write_text(f"{ABOUT}\n")
        (fresh / MARKER).write_text(record)
        if folder.exists():
            folder.rename(Path(scratch) / "replaced")
        fresh.rename(folder)
    return folder
