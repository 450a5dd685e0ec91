"""Sizes are read from whatever a user or a file writes, and printed in one way."""

import pytest

from utils.system.size import Size


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (256, "256"),
        ("256", "256"),
        ("256x256", "256"),
        ("336x224", "336x224"),
        ((336, 224), "336x224"),
        ([224, 336], "224x336"),
        (Size(64, 48), "64x48"),
    ],
)
def test_a_size_is_parsed_and_printed(value, text):
    size = Size.parse(value)
    assert str(size) == text
    assert Size.parse(text) == size


@pytest.mark.parametrize(
    "value",
    [*("", "x", "256x", "x224", "256 x 224", "-64", "1x2x3", "31", "8193", "9" * 12),
     *(31, 8193, True, 64.0, None, (64,), (64, 64, 64), (64, "64"), (64, True), (64, 31))],
)  # fmt: skip
def test_what_is_no_size_is_refused(value):
    with pytest.raises(ValueError, match=r"; expected px .* at least 32 and at most 8192"):
        Size.parse(value)
