"""Small data sets of one's own: pictures by the demo's painter, in the layout of `data.own`."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from utils.data import demo

NAMES = ("nevus", "melanoma", "basal cell carcinoma", "actinic keratosis", "dermatofibroma",
         "vascular lesion", "benign keratosis")  # fmt: skip


def painted(label: int, number: int, side: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) RGB and mask (H, W) 0/255; a class has cues of its own."""
    strong = (np.arange(len(demo.CUES)) * 7 + 3 * label) % 10 / 11 + 0.04
    return demo.paint(
        np.random.default_rng([label, number]),
        dict(zip(demo.CUES, strong.tolist(), strict=True)),
        (side, side),
    )


def write(file: Path, image: np.ndarray) -> None:
    """Write an RGB image or a mask, in the format that the name's ending says."""
    file.parent.mkdir(parents=True, exist_ok=True)
    stored = image[..., ::-1] if image.ndim == 3 else image
    file.write_bytes(cv2.imencode(file.suffix, stored)[1].tobytes())


def table(count: int, names: Sequence[str] = NAMES[:3], pair: bool = True) -> pd.DataFrame:
    """Rows image, label, split, group, age, sex; the classes in turn, two images a group."""
    at = np.arange(count)
    # Groups are of one class: images k and k + C, for each run of 2 C images.
    group = at // (2 * len(names)) * len(names) + at % len(names) if pair else at
    turn = group // len(names) % 4  # half of the groups of a class are trained on
    return pd.DataFrame(
        {
            "image": [f"own_{number:03d}" for number in at],
            "label": [names[number % len(names)] for number in at],
            "split": np.array(["train", "test", "train", "validation"])[turn],
            "group": [f"P{number:02d}" for number in group],
            "age": 30 + at % 50,
            "sex": np.array(["female", "male", "unknown"])[at % 3],
        }
    )


def make(
    folder: Path, rows: pd.DataFrame, masks: bool = True, labels: bool = True, side: int = 64
) -> Path:
    """Write images, and masks or labels of these rows; returns folder."""
    kinds = sorted(set(rows["label"]))
    for number, row in enumerate(rows.itertuples()):
        image, mask = painted(kinds.index(row.label), number, side)
        write(folder / "images" / f"{row.image}.jpg", image)
        if masks:
            write(folder / "masks" / f"{row.image}_segmentation.png", mask)
    if labels:
        rows.to_csv(folder / "labels.csv", index=False)
    else:
        rows[["image", "split"]].to_csv(folder / "splits.csv", index=False)
    return folder


def ham10000(folder: Path, count: int = 42) -> Path:
    """HAM10000 as Harvard's Dataverse has it: images in two parts, masks in a folder."""
    codes = ("nv", "mel", "bcc", "akiec", "df", "vasc", "bkl")
    lines = ["lesion_id,image_id,dx,dx_type,age,sex,localization,dataset"]
    for number in range(count):
        name, label = f"ISIC_{24306 + number:07d}", number % 7
        part = folder / f"HAM10000_images_part_{1 + (number >= count // 2)}"
        image, mask = painted(label, number)
        write(part / f"{name}.jpg", image)
        masks = folder / "HAM10000_segmentations_lesion_tschandl"
        write(masks / f"{name}_segmentation.png", mask)
        lesion = number // 14 * 7 + label  # two photographs of each
        age = "" if number == 3 else f"{40 + number}.0"
        lines.append(f"HAM_{lesion:07d},{name},{codes[label]},histo,{age},male,back,vidir")
    (folder / "HAM10000_metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


def one_hot(
    folder: Path,
    year: str,
    codes: Sequence[str],
    counts: dict[str, int],
    unknown: int = 0,
) -> Path:
    """A challenge of 2018 ("ISIC2018_Task3") or 2019 ("ISIC_2019"): a table of 0.0 and 1.0 a split.

    counts are images of each split ("Training"), of which the last `unknown` are of class UNK.
    """
    columns = [*codes, "UNK"] if unknown else list(codes)
    first = 1000
    for split, count in counts.items():
        lines, lesions, people = [f"image,{','.join(columns)}"], [], []
        for number in range(count):
            name, label = f"ISIC_{first + number:07d}", number % len(codes)
            if number >= count - unknown:
                label = len(codes)
            image, _ = painted(label, first + number)
            write(folder / f"{year}_{split}_Input" / f"{name}.jpg", image)
            cells = [f"{float(place == label)}" for place in range(len(columns))]
            lines.append(f"{name},{','.join(cells)}")
            lesions.append(f"{name},HAM_{number // 2:07d},histopathology")
            people.append(f"{name},{30 + number}.0,anterior torso,MSK4_{number:07d},female")
        first += 1000
        truth = folder / f"{year}_{split}_GroundTruth"
        if year == "ISIC_2019":
            truth = folder
            heads = "image,age_approx,anatom_site_general,lesion_id,sex"
            text = "\n".join([heads, *people]) + "\n"
            (folder / f"{year}_{split}_Metadata.csv").write_text(text)
        elif split == "Training":
            text = "\n".join(["image,lesion_id,diagnosis_confirm_type", *lesions]) + "\n"
            (folder / f"{year}_{split}_LesionGroupings.csv").write_text(text)
        truth.mkdir(exist_ok=True)
        (truth / f"{year}_{split}_GroundTruth.csv").write_text("\n".join(lines) + "\n")
    return folder


def ph2(folder: Path, count: int = 30) -> Path:
    """PH2: a folder for each image, BMP files, masks of one bit, a table for readers."""
    heads = "||   Name   ||   Histological Diagnosis   ||   Clinical Diagnosis   ||   Asymmetry   |"
    lines = [heads]
    for number in range(count):
        name, label = f"IMD{number + 2:03d}", number % 3
        image, mask = painted(label, number)
        home = folder / "PH2 Dataset images" / name
        write(home / f"{name}_Dermoscopic_Image" / f"{name}.bmp", image)
        place = home / f"{name}_lesion" / f"{name}_lesion.bmp"
        place.parent.mkdir()
        Image.fromarray(mask).convert("1").save(place)
        write(home / f"{name}_roi" / f"{name}_R1_Label4.bmp", mask)
        lines.append(
            f"||  {name}  ||                            ||          {label}             ||  0"
        )
    lines += ["", "Legends:", "Clinical Diagnosis:", "  0 - Common Nevus;  2 - Melanoma."]
    (folder / "PH2_dataset.txt").write_text("\n".join(lines) + "\n")
    return folder
