"""Single cases: the right picture, the right answer, and maps of that answer."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics

import nets
from utils import data, evaluation, visualize
from utils.data import patches
from utils.model import explain
from utils.visualize import single_cases


@pytest.fixture
def given(demo_rows: pd.DataFrame) -> pd.DataFrame:
    """Predictions for two test images: a melanoma called benign, and a benign one called so."""
    tested = demo_rows[demo_rows["split"] == "test"]
    chosen = pd.concat([tested[tested["label"] == label].head(1) for label in (0, 2)])
    table = chosen[["id", "label"]].reset_index(drop=True)
    return table.assign(melanoma=[0.2, 0.1], seborrheic_keratosis=[0.1, 0.1], benign=[0.7, 0.8])


def test_the_picture_is_the_plain_view(demo_store, given) -> None:
    images = single_cases.plain_images(demo_store, given, 48)
    position = demo_store.positions(given)[1]
    expected = patches.view(demo_store.image(position), 0, 48)
    assert images.shape == (2, 3, 48, 48)
    assert np.array_equal(images[1].movedim(0, -1), expected)


def test_captions_say_truth_and_answer(given) -> None:
    assert visualize.labels.answers(given).tolist() == [2, 2]
    lines = single_cases.captions(given)[0].splitlines()
    assert lines == [given["id"][0], "truth: melanoma", "answer: benign", "probability 0.70"]


def test_one_logit_answers_melanoma_or_the_rest(given) -> None:
    alone = given[["id", "label"]].assign(melanoma=[0.3, 0.9])
    assert visualize.labels.answers(alone).tolist() == [1, 0]
    assert [text.splitlines()[2:] for text in single_cases.captions(alone)] == [
        ["answer: the rest", "probability 0.70"],
        ["answer: melanoma", "probability 0.90"],
    ]


@pytest.mark.parametrize("classes", [3, 1])
def test_the_confusion_matrix_is_scikit_learns_and_holds_the_sensitivities(classes: int) -> None:
    generator = np.random.default_rng(classes)
    given = generator.dirichlet(np.ones(3), 60)[:, :classes]
    labels = generator.integers(0, 3, 60)
    table = pd.DataFrame(given, columns=list(data.CLASSES[:classes])).assign(label=labels)
    if classes == 3:
        expected = metrics.confusion_matrix(labels, given.argmax(axis=1))
    else:
        expected = metrics.confusion_matrix(labels != 0, given[:, 0] < 0.5)
    found = visualize.confusion(table)
    np.testing.assert_array_equal(found, expected)
    scores = evaluation.labels.coursework(labels, given)
    assert found[0, 0] / found[0].sum() == pytest.approx(scores["melanoma"]["sensitivity"])


@pytest.mark.parametrize(("name", "classes"), [("arl14", 3), ("resnet18", 3), ("arl_lite0", 1)])
def test_maps_are_those_of_the_answer(name: str, classes: int) -> None:
    torch.manual_seed(0)
    network = nets.build(name, classes).eval()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    answers = np.array([0, min(classes, 1)])
    found = single_cases.maps(network, images, answers)
    expected = explain.normalised(explain.class_activation_maps(network, images, answers))
    np.testing.assert_array_equal(found["class activation\n2×2 cells"], expected)
    finer = name != "arl_lite0"
    fine = found["Grad-CAM, layer3\n4×4 cells" if finer else "Grad-CAM, last map\n2×2 cells"]
    assert fine.shape == ((2, 4, 4) if finer else (2, 2, 2))
    attention = [key for key in found if key.startswith("attention")]
    assert len(attention) == (2 if "attention" in nets.options(name) else 0)
    for header, values in found.items():
        assert 0 <= values.min() <= values.max() <= 1
        assert header.endswith(f"{values.shape[2]}×{values.shape[1]} cells")


def test_the_figure_shows_each_case_with_its_caption(demo_store, given) -> None:
    figure = visualize.map_figure(
        nets.build("arl14").eval(), demo_store, given, 64, "title", "note"
    )
    texts = {text.get_text() for text in figure.findobj(match=lambda a: hasattr(a, "get_text"))}
    assert set(single_cases.captions(given)) <= texts


def test_every_block_is_shown_with_its_alpha(demo_store, given) -> None:
    network = nets.build("arl_lite0", alpha=0.25).eval()
    figure = single_cases.attention_figure(network, demo_store, given, 64, "title", "note")
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[0] == f"{given['id'][0]}\ntruth: melanoma\nanswer:\nbenign\nprobability 0.70"
    assert titles[1] == "blocks.1.1\nα 0.250\n16×16 cells"
    assert sum("α 0.250" in text for text in titles) == 2 * 9
    assert titles[10].startswith(given["id"][1])  # after nine blocks, on a line of its own
