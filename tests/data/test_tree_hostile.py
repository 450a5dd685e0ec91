"""Trees as they come from broken downloads, spreadsheets and other systems: read, or one sentence.

Every tree that cannot be used ends in a DataError that says what was found and how to fix it.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import trees

from utils import data
from utils.system.errors import DataError, listed, printable

LABELS = "image_id,melanoma,seborrheic_keratosis\n"
ROWS = "ISIC_0000001,1,0\nISIC_0000002,0,1\nISIC_0000003,0,0\nISIC_0000004,0,0\nISIC_0000005,0,0\n"
needs_posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The official tree of small images."""
    return trees.add_all(tmp_path / "tree")


# --- what is refused ---


def image(number: int, ending: str = ".jpg") -> Callable[[Path], Path]:
    """Where the numbered training image lies in a tree."""
    return lambda tree: trees.images(tree) / f"ISIC_{number:07d}{ending}"


def mask(name: str) -> Callable[[Path], Path]:
    return lambda tree: trees.masks(tree) / name


def write(where: Callable[[Path], Path], content: str | bytes) -> Callable[[Path], object]:
    content = content.encode() if isinstance(content, str) else content
    return lambda tree: where(tree).write_bytes(content)


def rename(where: Callable[[Path], Path], name: str) -> Callable[[Path], object]:
    return lambda tree: where(tree).rename(where(tree).with_name(name))


def copy(where: Callable[[Path], Path], name: str) -> Callable[[Path], object]:
    return lambda tree: shutil.copy(where(tree), where(tree).with_name(name))


def remove(where: Callable[[Path], Path]) -> Callable[[Path], object]:
    return lambda tree: where(tree).unlink()


def replace(
    where: Callable[[Path], Path], by: Callable[[Path], object]
) -> Callable[[Path], object]:
    """Put a folder, a link, … in the place of what is there."""

    def change(tree: Path) -> None:
        path = where(tree)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        by(path)

    return change


def link_to_nothing(path: Path) -> None:
    path.symlink_to(path.with_name("gone"))


def nested(path: Path) -> None:
    """The folder within itself, as some programs unpack."""
    trees.write_image(path / path.name / "ISIC_0000001.jpg", 1)


def people(rows: str) -> Callable[[Path], object]:
    return lambda tree: trees.metadata(tree, rows)


def test_rows(rows: str) -> Callable[[Path], object]:
    return write(lambda tree: trees.table(tree, "test"), LABELS + rows)


test_rows.__test__ = False

HOSTILE = {
    # images
    "missing image": (
        remove(image(2)),
        r"train list without an image in .*: ISIC_0000002; add the images, or set allow_missing",
    ),
    "extra image": (
        copy(image(2), "ISIC_0000099.jpg"),
        r"images without a row in ISIC-2017_Training_Part3_.*: ISIC_0000099; add their rows to",
    ),
    "copy of an image": (
        copy(image(2), "ISIC_0000002 (1).jpg"),
        r"images without a row in .*: ISIC_0000002 \(1\); add",
    ),
    "tif": (
        rename(image(2), "ISIC_0000002.tif"),
        r"of an unsupported kind in .*_Data: ISIC_0000002\.tif; save them as \.jpg or \.png",
    ),
    "BMP": (
        rename(image(2), "ISIC_0000002.BMP"),
        r"of an unsupported kind in .*_Data: ISIC_0000002\.BMP; save them as \.jpg or \.png",
    ),
    "webp beside the jpg": (
        copy(image(2), "ISIC_0000002.webp"),
        r"of an unsupported kind in .*_Data: ISIC_0000002\.webp; .* or move them elsewhere\.",
    ),
    "jpg and jpeg": (
        copy(image(2), "ISIC_0000002.jpeg"),
        r"two files for the image ISIC_0000002: ISIC_0000002\.jpeg, ISIC_0000002\.jpg; keep one",
    ),
    "image that is a folder": (
        replace(image(2), Path.mkdir),
        r"that are folders or broken links, expected files: ISIC_0000002\.jpg; add the files",
    ),
    "image that is a broken link": (
        replace(image(2), link_to_nothing),
        r"that are folders or broken links, expected files: ISIC_0000002\.jpg; add the files",
    ),
    # folders
    "no images": (
        replace(trees.images, Path.mkdir),
        r"Training_Data holds no images: found nothing, expected files such as ISIC_0000000\.jpg;",
    ),
    "images one folder too deep": (
        replace(trees.images, nested),
        r"holds no images: found ISIC-2017_Training_Data, .* directly into this folder",
    ),
    "image folder that is a file": (
        replace(trees.images, Path.touch),
        r"ISIC-2017_Training_Data is a file, expected a folder; put the folder",
    ),
    "image folder that is a broken link": (
        replace(trees.images, link_to_nothing),
        r"Training_Data is a link to .*gone, which does not exist; add what it points to, or",
    ),
    "mask folder that is a file": (
        replace(trees.masks, Path.touch),
        r"ISIC-2017_Training_Part1_GroundTruth is a file, expected a folder; put the folder",
    ),
    "mask folder that is a broken link": (
        replace(trees.masks, link_to_nothing),
        r"Part1_GroundTruth is a link to .*gone, which does not exist",
    ),
    # masks
    "mask as JPEG": (
        rename(mask("ISIC_0000002_segmentation.png"), "ISIC_0000002_segmentation.jpg"),
        r"not named like masks: ISIC_0000002_segmentation\.jpg; a mask is a PNG named <id>_segm",
    ),
    "mask as PNG in capitals": (
        rename(mask("ISIC_0000002_segmentation.png"), "ISIC_0000002_segmentation.PNG"),
        r"not named like masks: ISIC_0000002_segmentation\.PNG; .* in lower case; rename it",
    ),
    "mask named as its image": (
        rename(mask("ISIC_0000002_segmentation.png"), "ISIC_0000002.png"),
        r"not named like masks: ISIC_0000002\.png; a mask is a PNG named <id>_segmentation\.png",
    ),
    "mask as bmp": (
        rename(mask("ISIC_0000002_segmentation.png"), "ISIC_0000002_segmentation.bmp"),
        r"of an unsupported kind in .*GroundTruth: ISIC_0000002_segmentation\.bmp; save them as",
    ),
    "mask of no image": (
        rename(mask("ISIC_0000002_segmentation.png"), "ISIC_2_segmentation.png"),
        r"masks without a row in .*csv: ISIC_2; add their rows to the table, or move",
    ),
    "mask that is a broken link": (
        replace(mask("ISIC_0000002_segmentation.png"), link_to_nothing),
        r"expected files: ISIC_0000002_segmentation\.png; add the files",
    ),
    # csv files
    "csv that is empty": (
        write(trees.table, ""),
        r"GroundTruth\.csv is no readable csv file \(it is empty\); repair it, or replace",
    ),
    "csv without rows": (
        write(trees.table, LABELS),
        r"GroundTruth\.csv has no rows under its column names; write one for each image\.",
    ),
    "csv that is a folder": (
        replace(trees.table, Path.mkdir),
        r"GroundTruth\.csv is a folder, expected a csv file; put the file in its place\.",
    ),
    "csv that is a broken link": (
        replace(trees.table, link_to_nothing),
        r"GroundTruth\.csv is a link to .*gone, which does not exist; add what it points to",
    ),
    "csv that is a link to itself": (
        replace(trees.table, lambda path: path.symlink_to(path)),
        r"GroundTruth\.csv cannot be read \(Too many levels .*\); repair it, or replace it",
    ),
    "csv that is an archive": (
        write(trees.table, b"PK\x03\x04\x14\0\0\0\x08\0ISIC-2017_Training.csv\n"),
        r"is no readable csv file \(it holds zero bytes, as a picture or an archive does\); repair",
    ),
    "csv that is an image": (
        lambda tree: shutil.copy(image(1)(tree), trees.table(tree)),
        r"is no readable csv file \(not UTF-8: byte 0xff at 0\); save it as 'CSV UTF-8', or",
    ),
    "csv in UTF-16": (
        write(trees.table, (LABELS + ROWS).encode("utf-16")),
        r"is no readable csv file \(not UTF-8: byte 0xff at 0\); save it as 'CSV UTF-8', or",
    ),
    "csv in Latin-1": (
        write(trees.table, (LABELS + ROWS.replace("ISIC", "Läsion")).encode("latin-1")),
        r"is no readable csv file \(not UTF-8: byte 0xe4 at \d+\); save it as 'CSV UTF-8', or",
    ),
    "csv that is a web page": (
        write(trees.table, "<!DOCTYPE html>\n<html>\n<p>404 Not found</p>\n</html>\n"),
        r"lacks the column image_id, melanoma, .*; found <!DOCTYPE html>\. Expected image_id, mel",
    ),
    "csv with an open quote": (
        write(trees.table, LABELS + '"ISIC_0000001,1,0\nISIC_0000002,0,1\n'),
        r"is no readable csv file \(.*end of data\); repair it, or replace",
    ),
    "csv with a cell too many": (
        write(trees.table, LABELS + ROWS + "ISIC_0000006,0,0,0\n"),
        r"is no readable csv file \(line 7 has 4 cells, the first 3\); repair it, or replace",
    ),
    "csv that breaks off": (
        write(trees.table, LABELS + ROWS + "ISIC_00000"),
        r"is no readable csv file \(line 7 has 1 cells, the first 3\); repair it, or replace",
    ),
    "missing column": (
        write(trees.table, "image_id,melanoma,nevus\nISIC_0000001,1,0\n"),
        r"lacks the column seborrheic_keratosis; found image_id, melanoma, nevus\. Expected .*"
        r": rename a column, or add what is missing \(labels: 0 where the set has none",
    ),
    "no column names": (
        write(trees.table, ROWS),
        r"lacks the column image_id, melanoma, .*; found ISIC_0000001, 1, 0\. Expected image_id",
    ),
    "column that stands there twice": (
        write(trees.table, "image_id,melanoma,seborrheic_keratosis,melanoma\nISIC_0000001,1,0,0\n"),
        r"has the column melanoma twice; keep one\. Expected image_id, melanoma, seborrheic_kerat",
    ),
    # what csv files say
    "empty id": (
        write(trees.table, LABELS + ROWS + ",0,0\n"),
        r"rows without an id in .*csv: row 6; an id is the name of .*; add it, or remove the row",
    ),
    "duplicate id": (
        write(trees.table, LABELS + ROWS + "ISIC_0000003,1,0\n"),
        r"duplicate ids in .*Training_Part3.*: ISIC_0000003; keep one row for each image\.",
    ),
    "unknown id": (
        write(trees.table, LABELS + ROWS + "ISIC_7654321,1,0\n"),
        r"ids of the train list without an image in .*: ISIC_7654321; add the images",
    ),
    "id twice, once with an ending": (
        write(trees.table, LABELS + ROWS + "ISIC_0000005.jpg,1,0\n"),
        r"ids of ISIC-2017_Training_Part3_GroundTruth\.csv that differ only in spelling, so it is "
        r"unclear which image is meant: ISIC_0000005 and ISIC_0000005\.jpg for ISIC_",
    ),
    "images in two spellings for one id": (
        lambda tree: (
            rename(image(5), "isic_0000005.jpg")(tree),
            trees.write_image(trees.images(tree) / "Isic_0000005.jpg", 9),
        ),
        r"ISIC_0000005 for Isic_0000005 and isic_0000005; name each as its image file is named",
    ),
    "masks in two spellings": (
        copy(mask("ISIC_0000002_segmentation.png"), "isic_0000002_segmentation.png"),
        r"ids of masks that differ .*: ISIC_0000002 and isic_0000002 for ISIC_0000002; name each",
    ),
    "age and sex of one image twice": (
        people("ISIC_0000001,55,male\nisic_0000001,60,male\n"),
        r"ids of .*_metadata\.csv that differ .*: ISIC_0000001 and isic_0000001 for ISIC_0000001;",
    ),
    "ids of another set": (
        write(trees.table, LABELS + "1,1,0\n2,0,1\n3,0,0\n"),
        r"no id in .*csv is the name of an image: found the ids 1, 2, 3, the images ISIC_.*"
        r"; an id is the name of its image file without the ending; correct it\.",
    ),
    "id that leads out of the folder": (
        write(trees.table, LABELS + ROWS + "../../ISIC_0000006,1,0\n"),
        r"ids in .*csv that are no file names: \.\./\.\./ISIC_0000006; an id is the name of",
    ),
    "id with a backslash": (
        write(trees.table, LABELS + ROWS + "..\\ISIC_0000006,1,0\n"),
        r"ids in .*csv that are no file names: \.\.\\ISIC_0000006; an id is the name of its image",
    ),
    "id that is a folder": (
        write(trees.table, LABELS + ROWS + "..,1,0\n"),
        r"ids in .*csv that are no file names: \.\.; an id is the name",
    ),
    "id over two lines": (
        write(trees.table, LABELS + ROWS + '"ISIC_\n0000006",1,0\n'),
        r"ids in .*csv that are no file names: ISIC_\\n0000006; an id is the name",
    ),
    "no label": (
        write(trees.table, LABELS + ROWS + "ISIC_0000006,,\n"),
        r"labels other than 0 and 1 in .*csv for ISIC_0000006; write 0 or 1\.",
    ),
    "NaN as a label": (
        write(trees.table, LABELS + ROWS.replace("3,0,0", "3,NaN,0")),
        r"labels other than 0 and 1 in .*csv for ISIC_0000003; write 0 or 1\.",
    ),
    "decimals with commas": (
        write(trees.table, (LABELS + ROWS).replace(",", ";").replace(";0\n", ";0,0\n")),
        r"labels other than 0 and 1 in .*csv for ISIC_0000001, .*ISIC_0000005; write 0 or 1\.",
    ),
    "both labels": (
        write(trees.table, LABELS + ROWS.replace("3,0,0", "3,1,1")),
        r"with both labels set: ISIC_0000003; a lesion is melanoma, or .* or neither \(benign\)\.",
    ),
    "id in two splits": (
        lambda tree: (
            test_rows("ISIC_0000201,0,0\nISIC_0000202,0,0\nISIC_0000203,0,0\nISIC_0000001,0,0\n")(
                tree
            ),
            trees.write_image(trees.images(tree, "test") / "ISIC_0000001.jpg", 1),
        ),
        r"ids in two splits: ISIC_0000001; a network must not be scored",
    ),
    # age and sex
    "duplicate id in the metadata": (
        people("ISIC_0000001,55,male\nISIC_0000001,60,male\n"),
        r"duplicate ids in .*_Data_metadata\.csv: ISIC_0000001; keep one row for each image\.",
    ),
    "empty id in the metadata": (
        people("ISIC_0000001,55,male\n,60,male\n"),
        r"rows without an id in .*_Data_metadata\.csv: row 2; .*add it, or remove the row\.",
    ),
    "metadata without its columns": (
        lambda tree: trees.metadata(tree, "").write_text("image_id,age\nISIC_0000001,55\n"),
        r"metadata\.csv lacks the column age_approximate, sex; found image_id, age\. Expected",
    ),
    "metadata that are a folder": (
        lambda tree: (tree / "ISIC-2017_Training_Data_metadata.csv").mkdir(),
        r"metadata\.csv is a folder, expected a csv file; put the file",
    ),
}


@needs_posix
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_tree_ends_in_one_sentence(tree, case):
    damage, message = HOSTILE[case]
    data.read(tree)
    damage(tree)
    with pytest.raises(DataError, match=message) as error:
        data.read(tree)
    assert str(error.value).endswith(".")
    assert str(error.value).isprintable()  # one line


@needs_posix
@pytest.mark.timeout(20)
def test_a_pipe_is_not_waited_for(tree):
    trees.table(tree).unlink()
    os.mkfifo(trees.table(tree))
    with pytest.raises(DataError, match=r"csv is no regular file, expected a csv file; put"):
        data.read(tree)


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(ValueError, match=r"data', which is a file; name another path, that of a f"):
        data.locate(tmp_path / "data")


def test_a_name_that_is_not_utf8_is_shown(tree):
    try:
        shutil.copy(image(1)(tree), trees.images(tree) / os.fsdecode(b"ISIC_\xff\n.jpg"))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    with pytest.raises(DataError, match=r"images without a row in .*: ISIC_\\udcff\\n; add"):
        data.read(tree)


def test_names_are_shown_on_one_line():
    assert printable("a b\n病变\0\udcff") == r"a b\n病变\x00\udcff"
    assert listed(["a\tb"]) == r"a\tb"


# --- what this user may not read ---


@pytest.fixture
def unprivileged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Permissions bind everyone but root: under root, be another user for a while."""
    monkeypatch.chdir(tmp_path)  # the way to pytest's folders is barred to others
    tmp_path.chmod(0o755)
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def barred() -> Iterator[Callable[[Path], None]]:
    """Takes all permissions from a file or folder, until the test ends."""
    modes = {}

    def bar(path: Path) -> None:
        modes[path.absolute()] = path.stat().st_mode
        path.chmod(0)

    yield bar
    for path, mode in modes.items():
        path.chmod(mode)


@needs_posix
@pytest.mark.parametrize(
    "place",
    [
        lambda tree: tree,
        trees.table,
        trees.images,
        trees.masks,
        lambda tree: tree / "ISIC-2017_Training_Data_metadata.csv",
    ],
    ids=["tree", "labels", "images", "masks", "metadata"],
)
def test_what_may_not_be_read(tree, barred, request, place):
    trees.metadata(tree, "")
    data.read(tree)  # what is imported late may lie where another user may not look
    barred(place(tree))
    request.getfixturevalue("unprivileged")
    name = place(Path("tree"))
    message = rf"{name} may not be read by this user; allow it: chmod -R u\+rX '{name}'\."
    with pytest.raises(DataError, match=message):
        data.read(Path("tree"))


@needs_posix
def test_a_folder_whose_names_can_be_listed_but_not_its_files(tree, barred, request):
    data.read(tree)
    barred(trees.images(tree))
    trees.images(tree).chmod(0o444)
    request.getfixturevalue("unprivileged")
    with pytest.raises(DataError, match=r"Training_Data may not be read by this user; allow it"):
        data.read(Path("tree"))


# --- what is taken as it comes ---


def table_as(change: Callable[[str], str | bytes]) -> Callable[[Path], object]:
    def rewrite(tree: Path) -> None:
        text = change(LABELS + ROWS)
        trees.table(tree).write_bytes(text.encode() if isinstance(text, str) else text)

    return rewrite


def neighbours(tree: Path) -> None:
    """What archives, systems and tools leave among the images and masks."""
    for folder in (trees.images(tree), trees.masks(tree)):
        for name in ("._ISIC_0000001.jpg", ".DS_Store", "Thumbs.db", "attribution.txt"):
            (folder / name).write_text("no picture")
        for name in ("metadata.csv", "licenses.json", "ISIC_0000009.jpg.part", "README"):
            (folder / name).write_text("no picture")
        trees.write_image(folder / "ISIC_0000001_superpixels.png", 1)


ACCEPTED = {
    "byte order mark": table_as(lambda text: text.encode("utf-8-sig")),
    "CRLF": table_as(lambda text: text.replace("\n", "\r\n")),
    "CR": table_as(lambda text: text.replace("\n", "\r")),
    "no line end at the end": table_as(str.rstrip),
    "semicolons": table_as(lambda text: text.replace(",", ";")),
    "tabs": table_as(lambda text: text.replace(",", "\t")),
    "byte order mark, semicolons and CRLF": table_as(
        lambda text: text.replace(",", ";").replace("\n", "\r\n").encode("utf-8-sig")
    ),
    "empty lines": table_as(lambda text: "\n" + text.replace("\n", "\n\n") + ",,\n"),
    "spaces": table_as(lambda text: text.replace(",", " , ")),
    "quotes": table_as(lambda text: text.replace(",1", ',"1"')),
    "further columns": table_as(lambda text: text.replace("\n", ",nevus,\n")),
    "columns in another order": table_as(
        lambda text: "\n".join(",".join(line.split(",")[::-1]) for line in text.splitlines())
    ),
    "JPG": rename(image(2), "ISIC_0000002.JPG"),
    "jpeg": rename(image(2), "ISIC_0000002.jpeg"),
    "PNG": lambda tree: (
        remove(image(2))(tree),
        trees.write_image(image(2, ".PNG")(tree), 2),
    ),
    "neighbours": neighbours,
}


@needs_posix
@pytest.mark.parametrize("case", ACCEPTED)
def test_a_tree_that_is_unusual_but_whole_is_read_all_the_same(tree, case):
    before = data.read(tree)
    ACCEPTED[case](tree)
    after = data.read(tree)
    pd.testing.assert_frame_equal(after.drop(columns="image"), before.drop(columns="image"))
    assert [Path(name).stem for name in after["image"]] == before["id"].tolist()
    assert all(Path(name).is_file() for name in after["image"])


def test_na_is_a_name_like_others(tree):
    image(2)(tree).rename(image(2)(tree).with_name("NA.jpg"))
    mask("ISIC_0000002_segmentation.png")(tree).rename(trees.masks(tree) / "NA_segmentation.png")
    text = trees.table(tree).read_text()
    trees.table(tree).write_text(text.replace("ISIC_0000002", "NA"))
    trees.metadata(tree, "NA,55,female\nISIC_0000003,NA,NA\n")
    row = data.read(tree).set_index("id").loc["NA"]
    assert Path(row["image"]).name == "NA.jpg"
    assert Path(row["mask"]).name == "NA_segmentation.png"
    assert (row["label"], row["age"], row["sex"]) == (1, 55, "female")
    other = data.read(tree).set_index("id").loc["ISIC_0000003"]
    assert pd.isna(other["age"])
    assert other["sex"] == "unknown"


def test_spaces_and_chinese_characters_in_paths(tmp_path):
    tree = trees.add_all(tmp_path / "皮肤 病变" / "ISIC 2017")
    trees.metadata(tree, "ISIC_0000001,55,female\n")
    rows = data.read(data.locate(tree))
    assert len(rows) == 11
    assert all(Path(name).is_file() for name in [*rows["image"], *rows["mask"]])
    (trees.images(tree) / "ISIC_0000001.jpg").unlink()
    with pytest.raises(
        DataError, match=r"without an image in .*/皮肤 病变/ISIC 2017: ISIC_0000001"
    ):
        data.read(tree)


@needs_posix
def test_a_tree_of_links(tree, tmp_path):
    linked = tmp_path / "linked"
    (linked / "ISIC-2017_Validation_Data").mkdir(parents=True)
    for path in tree.iterdir():
        if path.name != "ISIC-2017_Validation_Data":
            (linked / path.name).symlink_to(path)
    for path in trees.images(tree, "validation").iterdir():
        (trees.images(linked, "validation") / path.name).symlink_to(path)
    assert data.read(linked)["id"].tolist() == data.read(tree)["id"].tolist()
