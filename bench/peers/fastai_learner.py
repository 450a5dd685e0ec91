"""fastai's DataBlock and Learner, as its vision tutorial has them."""

from fastai.vision.all import (
    Adam,
    Callback,
    CategoryBlock,
    ColReader,
    CrossEntropyLossFlat,
    DataBlock,
    ImageBlock,
    IndexSplitter,
    Learner,
    Normalize,
    RandomResizedCrop,
    aug_transforms,
    imagenet_stats,
)

from bench.peers.job import DEVICE, LEARNING_RATE, SCALE, Job, Turn

WAY = {
    "lines": "fp32 defaults" + " bf16" * (DEVICE.type == "cuda"),
    "reads": "decodes every file in every epoch (PIL), in a worker a core by default",
    "augments": "crop by PIL; affine and light on whole batches of floats, each in 3 of 4 images",
    "step": "contiguous, fastai's own Adam with decoupled decay",
    "besides": "bf16 on CUDA only (its autocast names that device)",
}


class EndOfEpoch(Callback):
    """Calls `turn`."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn

    def after_train(self) -> None:
        """Before it would validate; there is nothing to validate on."""
        self.turn()


def train(job: Job, turn: Turn) -> None:
    """Classification."""
    moved = aug_transforms(flip_vert=True, max_rotate=10, max_zoom=1.1, max_warp=0)
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=[0, 1, 2], sort=False)),
        get_x=ColReader("image"),
        get_y=ColReader("label"),
        splitter=IndexSplitter([]),
        item_tfms=RandomResizedCrop(job.size, min_scale=SCALE**2, ratio=(1, 1)),
        batch_tfms=[*moved, Normalize.from_stats(*imagenet_stats)],
    )
    loaders = block.dataloaders(job.images, bs=job.batch_size, path=job.folder, **job.loading)
    learner = Learner(loaders, job.network(), CrossEntropyLossFlat(), Adam, path=job.folder)
    if job.line == "bf16":
        learner.to_bf16()
    with learner.no_bar(), learner.no_logging():
        learner.fit(job.epochs, LEARNING_RATE, cbs=[EndOfEpoch(turn)])
