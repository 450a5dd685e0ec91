"""Every kind of image file there is: used as it should be, or named with its fault."""

import re
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, ImageOps

from utils.data import decode
from utils.fetching import duplicates

SIZE = (40, 30)


@pytest.fixture
def picture() -> np.ndarray:
    """A smooth picture (30, 40, 3), which JPEG hardly changes."""
    down, across = np.mgrid[0:30, 0:40]
    return np.stack([100 + 3 * across, 60 + 4 * down, 200 - 2 * across], axis=2).astype(np.uint8)


@pytest.fixture
def lesion() -> np.ndarray:
    mask = np.zeros((30, 40), np.uint8)
    mask[8:20, 10:30] = 255
    return mask


def saved(path: Path, image: Image.Image, **options: object) -> str:
    image.save(path, **options)
    return str(path)


def mask_file(folder: Path, mask: np.ndarray) -> str:
    return saved(folder / "a_segmentation.png", Image.fromarray(mask))


KINDS = {
    ".jpg": ("RGB", "CMYK", "L"),
    ".JPG": ("RGB",),
    ".jpeg": ("L",),
    ".png": ("RGB", "L", "1", "P"),
}


@pytest.mark.parametrize(
    ("suffix", "mode"), [(suffix, mode) for suffix, modes in KINDS.items() for mode in modes]
)
def test_all_usual_kinds_give_rgb(suffix, mode, picture, tmp_path):
    image = Image.fromarray(picture).convert(mode)
    path = saved(tmp_path / f"a{suffix}", image)
    seen = decode.read_image(path).astype(int)
    assert seen.shape == (30, 40, 3)
    assert abs(seen - np.asarray(image.convert("RGB")).astype(int)).mean() < 4


def test_sixteen_bits_become_eight_without_being_cut_off(picture, tmp_path):
    deep = picture[..., 0].astype(np.uint16) * 257
    path = saved(tmp_path / "a.png", Image.fromarray(deep))
    np.testing.assert_array_equal(decode.read_image(path), picture[..., :1].repeat(3, axis=2))


def test_opaque_alpha_is_dropped(picture, tmp_path):
    image = Image.fromarray(picture)
    image.putalpha(255)
    np.testing.assert_array_equal(decode.read_image(saved(tmp_path / "a.png", image)), picture)


def photo(folder: Path, pixels: np.ndarray, orientation: int) -> tuple[str, np.ndarray]:
    """A file with that EXIF orientation; and how every viewer shows it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(folder / "a.png", Image.fromarray(pixels), exif=exif)
    with Image.open(path) as file:
        return path, np.asarray(ImageOps.exif_transpose(file))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_without_mask_is_turned_as_viewers_show_it(orientation, picture, tmp_path):
    path, upright = photo(tmp_path, picture, orientation)
    np.testing.assert_array_equal(decode.read_image(path), upright)
    facts = decode.check(path, "")
    assert (facts.height, facts.width, facts.orientation) == (*upright.shape[:2], orientation)
    size = upright.shape[1], upright.shape[0]
    np.testing.assert_array_equal(decode.decode(path, "", size)[0], upright)
    hashes = [
        duplicates.perceptual_hash(file)
        for file in (path, saved(tmp_path / "upright.png", Image.fromarray(upright)))
    ]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("orientation", range(5, 9))
def test_a_photo_lies_as_its_mask(orientation, picture, lesion, tmp_path):
    path, upright = photo(tmp_path, picture, orientation)
    turned_mask = saved(tmp_path / "turned.png", Image.new("L", upright.shape[1::-1]))
    for mask, pixels, lies in (
        (mask_file(tmp_path, lesion), picture, "as stored"),
        (turned_mask, upright, "turned"),
    ):
        np.testing.assert_array_equal(decode.read_image(path, mask), pixels)
        size = pixels.shape[1], pixels.shape[0]
        seen, _, facts = decode.decode(path, mask, size)
        np.testing.assert_array_equal(seen, pixels)
        assert (facts["width"], facts["height"]) == size
        checked = decode.check(path, mask)
        assert (checked[:2], checked[2:4], checked.lies) == (size, size, lies)


@pytest.mark.parametrize(
    ("orientation", "sides"), [(2, (30, 40)), (3, (30, 40)), (4, (30, 40)), (6, (30, 30))]
)
def test_a_photo_is_refused_where_nothing_tells_how_it_lies(orientation, sides, picture, tmp_path):
    path, _ = photo(tmp_path, picture[:, : sides[1]], orientation)
    mask = saved(tmp_path / "a_segmentation.png", Image.new("L", sides[::-1]))
    said = decode.decode(path, mask, SIZE)
    assert said.startswith(f"a.png (has the EXIF orientation {orientation}, and a mask that may")
    assert said.endswith(", without the EXIF orientation)")
    with pytest.raises(ValueError, match="EXIF"):
        decode.read_image(path, mask)
    assert decode.check(path, mask).lies == "undecided"


def test_a_turned_photo_whose_mask_cannot_be_opened(picture, tmp_path):
    path, _ = photo(tmp_path, picture, 6)
    (tmp_path / "m.png").write_bytes(b"GIF89a")
    for mask in ("m.png", "gone.png"):
        assert mask in decode.decode(path, str(tmp_path / mask), SIZE)


def test_a_turned_mask_is_refused(picture, lesion, tmp_path):
    image = saved(tmp_path / "b.png", Image.fromarray(picture))
    mask, _ = photo(tmp_path, lesion, 3)
    assert decode.decode(image, mask, SIZE) == (
        "a.png (has an EXIF orientation; save it upright, without one)"
    )


def test_scaled_decoding_of_a_turned_photo_keeps_enough_of_both_sides(picture, tmp_path):
    large = Image.fromarray(cv2.resize(picture, (1600, 400), interpolation=cv2.INTER_CUBIC))
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "a.jpg", large, exif=exif, quality=95)
    seen = decode.decode(path, "", (100, 400))[0].astype(int)
    whole = cv2.resize(decode.read_image(path), (100, 400), interpolation=cv2.INTER_AREA)
    assert abs(seen - whole).max() < 8


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 30\n%%EndComments\nshowpage\n"


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_an_eps_does_not_start_ghostscript_whatever_its_name(
    suffix, picture, tmp_path, monkeypatch
):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("it started"))
    path, image = tmp_path / f"a{suffix}", saved(tmp_path / "b.png", Image.fromarray(picture))
    path.write_bytes(EPS)
    for pair in ((str(path), ""), (image, str(path))):
        for said in (decode.decode(*pair, SIZE), decode.check(*pair)):
            assert said == f"a{suffix} (is no JPEG or PNG: it starts with b'%!PS-Adobe-3')"
    for read in (decode.read_image, decode.read_mask, duplicates.perceptual_hash):
        with pytest.raises((ValueError, OSError)):
            read(path)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_other_kinds_are_not_read_under_a_name_of_ours(kind, picture, tmp_path):
    path = saved(tmp_path / "a.jpg", Image.fromarray(picture), format=kind)
    assert "a.jpg (is no JPEG or PNG: it starts with " in decode.decode(path, "", SIZE)


def test_the_first_of_the_pictures_that_a_phone_puts_into_one_file(picture, tmp_path):
    first, other = Image.fromarray(picture), Image.fromarray(255 - picture)
    path = tmp_path / "a.jpg"
    first.save(path, format="MPO", save_all=True, append_images=[other], quality=95)
    assert abs(decode.read_image(path).astype(int) - picture).mean() < 4


def test_a_picture_too_large_for_the_memory_is_named(picture, tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", Image.fromarray(picture))

    def no_memory(_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(decode, "_rgb", no_memory)
        for said in (decode.decode(path, "", SIZE), decode.check(path, "")):
            assert said == "a.png (needs more memory than available; save it smaller)"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    assert decode.check(path, "") == "a.png (has more than 1,000 pixels; save it smaller)"


def damaged(kind: str, whole: bytes) -> bytes:
    return {
        "empty": b"",
        "text": b"This is no image.",
        "page": b"<!DOCTYPE html><html></html>",
        "truncated": whole[: len(whole) * 2 // 3],
        "head": whole[:30],
    }[kind]


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("empty", "is empty"),
        ("text", "is no JPEG or PNG: it starts with b'This is no i'"),
        ("page", "is no JPEG or PNG: it starts with b'<!DOCTYPE ht'"),
        ("truncated", "truncated"),
        ("head", ""),
    ],
)
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_damaged_files_are_named_with_their_fault(kind, fault, suffix, lesion, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(noise).save(path)
    path.write_bytes(damaged(kind, path.read_bytes()))
    mask = mask_file(tmp_path, lesion)
    for said in (decode.decode(str(path), mask, SIZE), decode.check(str(path), mask)):
        assert isinstance(said, str)
        assert said.startswith(f"a{suffix} (")
        assert fault in said
        assert "BytesIO" not in said
    with pytest.raises(ValueError, match=r"a\.(jpg|png)"):
        decode.read_image(path)


def test_missing_files_are_named(tmp_path):
    assert "cannot be read: No such file" in decode.decode(str(tmp_path / "a.jpg"), "", SIZE)


@pytest.mark.parametrize(
    ("values", "fault"),
    [((0, 1), "holds 1 beside 0 and 255"), ((0, 254, 255), "254"), ((3, 128, 200), "3, 128, 200")],
)
def test_masks_are_black_and_white(values, fault, picture, tmp_path):
    image = saved(tmp_path / "a.png", Image.fromarray(picture))
    mask = mask_file(tmp_path, np.resize(np.array(values, np.uint8), (30, 40)))
    for said in (decode.decode(image, mask, SIZE), decode.check(image, mask)):
        assert said.startswith("a_segmentation.png (holds ")
        assert fault in said
    with pytest.raises(ValueError, match="a mask is black and white"):
        decode.read_mask(mask)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "RGBA", "I;16"])
def test_black_and_white_of_any_kind_is_a_mask(mode, picture, lesion, tmp_path):
    image = saved(tmp_path / "a.png", Image.fromarray(picture))
    mask = (
        Image.fromarray(lesion.astype(np.uint16) * 257)
        if mode == "I;16"
        else (Image.fromarray(lesion).convert(mode))
    )
    path = saved(tmp_path / "a_segmentation.png", mask)
    _, seen, facts = decode.decode(image, path, SIZE)
    np.testing.assert_array_equal(seen, lesion)
    np.testing.assert_array_equal(decode.read_mask(path), lesion > 0)
    assert facts["has_mask"]
    assert decode.check(image, path).lesion_pixels == 12 * 20


@pytest.mark.parametrize("kind", ["transparent", "twelve bits"])
def test_pixels_of_unclear_meaning_are_refused(kind, picture, tmp_path):
    image = Image.fromarray(picture)
    image.putalpha(200)
    fault = "has transparent pixels; save it without transparency"
    if kind == "twelve bits":  # in sixteen: it would be almost black
        image = Image.fromarray(picture[..., 0].astype(np.uint16) * 16)
        fault = r"uses \d+ of the 65535 values of 16 bits; save it with 8 bits"
    path = saved(tmp_path / "a.png", image)
    assert re.fullmatch(rf"a\.png \({fault}\)", decode.decode(path, "", SIZE))


@pytest.mark.parametrize(
    ("values", "fault"),
    [((0, 1), "holds 1 beside"), ((0, 65300), "holds 65300"), ((0, 256), "holds 256")],
)
def test_sixteen_bits_of_other_values_are_no_mask(values, fault, picture, tmp_path):
    image = saved(tmp_path / "a.png", Image.fromarray(picture))
    deep = np.resize(np.array(values, np.uint16), (30, 40))
    mask = saved(tmp_path / "a_segmentation.png", Image.fromarray(deep))
    assert fault in decode.decode(image, mask, SIZE)


def test_a_lesion_in_the_transparency_alone_is_no_mask(picture, lesion, tmp_path):
    image = saved(tmp_path / "a.png", Image.fromarray(picture))
    white = Image.new("RGB", (40, 30), "white")
    white.putalpha(Image.fromarray(lesion))
    mask = saved(tmp_path / "a_segmentation.png", white)
    assert "has transparent pixels; a mask is black and white" in decode.decode(image, mask, SIZE)


@pytest.mark.parametrize(
    ("kind", "value"), [(2, b"abc\0"), (3, b"\t\0\0\0"), (3, bytes(4))], ids=["text", "9", "0"]
)
def test_an_orientation_that_is_none(kind, value, picture, tmp_path):
    head = b"Exif\0\0II*\0" + struct.pack("<I", 8)
    entry = struct.pack("<HHHI", 1, 0x0112, kind, 4 if kind == 2 else 1) + value
    path = tmp_path / "a.jpg"
    Image.fromarray(picture).save(path, exif=head + entry + bytes(4))
    with Image.open(path) as file:
        assert file.getexif()[0x0112] not in range(1, 9)
    assert decode.check(str(path), "").orientation == 1


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_an_exif_that_cannot_be_read_says_nothing(kind, picture, tmp_path):
    path = tmp_path / f"a.{kind}"
    Image.fromarray(picture).save(path, exif=b"Exif\0\0LL*\0" + bytes(20))
    assert decode.check(str(path), "").orientation == 1


def test_a_mask_of_another_size_is_refused_where_it_would_be_stretched(picture, tmp_path):
    image = saved(tmp_path / "a.png", Image.fromarray(picture))
    mask = mask_file(tmp_path, np.zeros((40, 30), np.uint8))
    assert decode.decode(image, mask, SIZE) == (
        "a_segmentation.png (is 30x40, its image 40x30; expected the same)"
    )
    facts = decode.check(image, mask)
    assert (facts.mask_width, facts.mask_height) == (30, 40)


def test_facts_know_the_same_picture_in_another_file(picture, tmp_path):
    one = decode.check(saved(tmp_path / "a.png", Image.fromarray(picture)), "")
    other = decode.check(saved(tmp_path / "b.png", Image.fromarray(picture), compress_level=1), "")
    assert one.pixels_sha256 == other.pixels_sha256
    assert one.sha256 != other.sha256
    third = decode.check(saved(tmp_path / "c.png", Image.fromarray(picture[::-1])), "")
    assert third.pixels_sha256 != one.pixels_sha256
    assert (one.mask_width, one.lesion_pixels, one.mask_sha256) == (0, 0, "none")


@pytest.mark.parametrize("size", [(64, 48), (256, 256), (336, 224)])
def test_scaled_decoding_differs_little_from_the_whole(size, tmp_path):
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    large = cv2.resize(coarse, (2048, 1536), interpolation=cv2.INTER_CUBIC)
    large = np.clip(large + rng.normal(0, 8, large.shape), 0, 255).astype(np.uint8)
    path = saved(tmp_path / "a.jpg", Image.fromarray(large), quality=92)
    seen = decode.decode(path, "", size)[0].astype(int)
    whole = cv2.resize(decode.read_image(path), size, interpolation=cv2.INTER_AREA)
    difference = abs(seen - whole)
    assert difference.mean() < 2
    assert np.percentile(difference, 99.9) <= 16
    assert difference.any()  # it was scaled


def test_scaled_decoding_of_real_originals(isic2017_fullres):
    for path in sorted(isic2017_fullres.glob("ISIC-2017_Validation_Data/*.jpg")):
        for side in (224, 256):
            seen = decode.decode(str(path), "", (side, side))[0].astype(int)
            whole = cv2.resize(decode.read_image(path), (side, side), interpolation=cv2.INTER_AREA)
            difference = abs(seen - whole)
            assert difference.mean() < 2
            assert np.percentile(difference, 99.9) <= 16
