"""One table says what the two tasks do in their own way."""

import pytest

import experiments
from utils import task


@pytest.mark.parametrize("name", ["1-3", "seg-6"])
def test_the_training_images_of_a_task(name, demo_store, demo_rows) -> None:
    size = {"1-3": 32, "seg-6": (40, 32)}[name]
    experiment = experiments.get(name, "demo", image_size=size)
    images = demo_rows[demo_rows["split"] == "train"].reset_index(drop=True)
    training = task.of(experiment).training_set(experiment, demo_store, images)
    assert len(training) == len(images)
    assert len(training[0, 0]["image"]) == 32
