"""A library's network in place of a row's own: which fields change, what its runs are called."""

from dataclasses import asdict

import pytest

from experiments import get, restore


@pytest.mark.parametrize(
    ("row", "changes", "folder"),
    [
        ("3-1", {"network": "timm:convnext_tiny"}, "3-1-timm-convnext_tiny-s0"),
        ("3-1", {"network": "timm:resnet18.a1_in1k", "seed": 3}, "3-1-timm-resnet18.a1_in1k-s3"),
        ("3-1", {"network": "timm:test_vit", "fold": "2/5"}, "3-1-timm-test_vit-f2-s0"),
        (
            "seg-6",
            {"network": "smp:UnetPlusPlus/efficientnet-b0", "fold": "series 1/5"},
            "seg-6-smp-UnetPlusPlus-efficientnet-b0-series-f1-s0",
        ),
        ("3-1", {"network": "lite0"}, "3-1-s0"),
        ("3-1", {"network": None}, "3-1-s0"),
    ],
)
def test_its_runs_have_folders_of_their_own(row: str, changes: dict, folder: str) -> None:
    experiment = get(row, "light", **changes)
    assert experiment.folder() == folder
    assert restore(asdict(experiment)) == experiment


def test_all_else_is_as_in_the_row_but_what_was_published_for_its_network() -> None:
    usual, other = asdict(get("1-1", "best")), asdict(get("1-1", "best", network="timm:resnet18"))
    changed = {name for name in usual if usual[name] != other[name]}
    assert changed == {"network", "question", "published", "deviations"}
    assert other["deviations"] == ()
    assert other["question"] == (
        "How good is timm:resnet18 in place of arl50, all else as in row 1-1?"
    )
    assert other["published"] == ()
    of_all = get("seg-4", "best", network="smp:FPN/resnet18").published
    assert {study.convention for study in of_all} == {"official"}
    assert len(of_all) == len(get("seg-4", "best").published) - 1
    # The profile's own network, where it has another one, is not named.
    assert get("1-3", "coursework", network="arl18").folder() == "1-3-s0"


def test_it_is_described() -> None:
    text = get("3-1", "light", network="timm:convnext_tiny").describe([])
    assert "network          timm:convnext_tiny\n" in text
    assert "attention" not in text


@pytest.mark.parametrize(
    ("row", "network", "said"),
    [
        ("3-1", "smp:Unet/resnet18", "expected None, for lite0 as in row 3-1, or .*'timm:convnext"),
        ("seg-6", "timm:resnet18", "for lite_unet as in row seg-6, or .*'smp:UnetPlusPlus/effic"),
        ("3-1", "resnet18", r"network is 'resnet18'; .* \(Networks of our own are chosen by their"),
        ("3-1", "timm:", "network is 'timm:'; expected"),
        ("3-1", "timm:a/../b", "network is 'timm:a/../b'; expected"),
        ("3-1", "timm:a\n", r"network is 'timm:a\\n'; expected"),
        ("seg-6", "smp:Unet", "network is 'smp:Unet'; expected"),
        ("3-1", 18, "network is 18; expected"),
        ("0-2", "timm:resnet18", "row '0-2' is a baseline"),
    ],
)
def test_what_is_no_network_of_its_library_is_refused(row: str, network: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        get(row, "demo", network=network)
