"""What the published studies did, and the rows do not: one sentence each, with the reason.

What is not named here is a field of the row. README's table and a row's `describe` show it.
"""

# By profile, then by the rows that it concerns.
Texts = dict[str, dict[tuple[str, ...], tuple[str, ...]]]

_CLASSIFIERS = ("1-1", "1-2", "1-3", "1-5", "2-1", "2-2", "2-3", "2-4", "3-1", "3-2", "3-3",
                "3-4", "3-5", "4-1", "4-2")  # fmt: skip
_FOURTEEN = ("1-3", "2-1", "2-2", "2-3", "2-4", "4-1", "4-2")
_SEGMENTERS = ("seg-1", "seg-2", "seg-3", "seg-4", "seg-5", "seg-6", "seg-7", "seg-8")
_NO_SUCH_ROW = (
    "the study had no such row; it has the recipe of the others, to be compared with them"
)
_ONE_STUDY = (
    "it turns its crops within a black frame, ours within a mirrored one",
    "its crops have width and height exchanged by a slip, and are black beyond the image; ours are "
    "not, as no other study could be compared with them",
    "its crops are PNG files of 224 px, cut anew from the originals for each test; ours are JPEG "
    "files of 256 px, and test crops come from images of 256 px, so that small ones are blurred",
    "its nine test crops lie elsewhere in each test; ours are fixed by the image's id, so that "
    "scores repeat",
    "of epochs with equal accuracy it kept the last, we keep the first",
)

_COURSEWORK_LABELS = ("1-1", "1-2", "1-3", "2-1", "2-2", "2-3", "2-4")
_PUBLISHED = (*_COURSEWORK_LABELS, "1-4", "1-6", *_SEGMENTERS[:5])
_LOST_WEIGHTS = (
    "its focal loss overwrote its class weights on the first batch, and left one number for all "
    "classes after a few; ours keeps them, as its table says"
)


def _our_own(epoch: str) -> dict[tuple[str, ...], tuple[str, ...]]:
    """What a recipe of ours does not share with the published ones; epoch: how it is chosen."""
    return {
        _PUBLISHED: (
            "this profile is our own recipe, not that of the published numbers: other crops, "
            f"epochs and rates; {epoch}",
        ),
        _COURSEWORK_LABELS: ("the published networks saw 1320 archive images besides",),
        ("1-1",): (
            "the coursework's softmax is over channels, as its code is; here it is over positions, "
            "as in the paper",
        ),
        ("1-3", "2-1", "2-2", "2-3", "2-4"): (
            "the published network has 18 layers in its code, a softmax over channels, and, as far "
            "as can be told, ImageNet's weights; this one has 14, a softmax over positions, and "
            "starts from random weights",
        ),
        ("2-2",): (_LOST_WEIGHTS,),
        ("1-4",): (
            "its α is fixed, and its softmax over channels; here α is learned, and the softmax "
            "over positions",
        ),
        ("1-4", "1-6"): (
            "its colours are normalised by the mean of its own crops, and its epoch was chosen by "
            "accuracy; here neither is so",
        ),
        _SEGMENTERS[:5]: (
            "its Dice is of both classes, the probability squared, and it saw and scored the "
            "middle of a stretched image; here it is of the lesion, on the whole image",
        ),
        ("seg-5",): (
            "the published network has 19.07 M parameters, four stages, and a softmax over "
            "channels, from random weights; this one has 9.46 M, three stages, and a softmax over "
            "positions, from ImageNet's",
        ),
    }


TEXTS: Texts = {
    "best": _our_own("a hold-out chooses the epoch"),
    "light": _our_own("the last epoch is kept"),
    "paper": {
        _CLASSIFIERS: (
            "the paper crops from full-size images, ours are stored at 512 px, to be decoded once; "
            "its test crops are not described well enough, ours are the nine fixed views",
            "quarter turns are added to its flips, as dermoscopy has no up and down",
        ),
        ("1-5", "2-1", "2-2", "2-3", "2-4", "3-1", "3-2", "3-3", "3-4", "3-5", "4-1", "4-2"): (
            _NO_SUCH_ROW,
        ),
        ("1-4", "1-6"): _ONE_STUDY,
    },
    "coursework": {
        _CLASSIFIERS: (
            "its test and validation crops lie elsewhere whenever it runs; ours are fixed by the "
            "image's id, so that scores repeat",
            "patches come from images stored at 512 px, to be decoded once, not from the originals",
            "its code crops a patch once more (0.8 to 1.2 of its area, sides as 3:4 to 4:3), and "
            "turns it within a black frame; ours shifts it by up to a tenth, zooms each axis by as "
            "much, and shows what lies beside it in the image",
        ),
        _FOURTEEN: (
            "ImageNet's weights are what its committed code decides (arlnet18(pretrained=True)); "
            "what was run for the printed table cannot be proven",
        ),
        ("1-1",): (
            "its last notebook of this row trains with focal loss [2.5, 2.5, 0.5]; here is the "
            "cross-entropy of its table",
        ),
        ("2-2",): (_LOST_WEIGHTS,),
        ("1-5", "3-1", "3-2", "3-3", "3-4", "3-5", "4-1", "4-2"): (_NO_SUCH_ROW,),
        ("1-4", "1-6"): _ONE_STUDY,
        _SEGMENTERS: (
            "half of its patches have Gaussian noise, of 0.012 to 0.028 of the range; all of ours "
            "have, of 0.02",
            "the corners of its rotated crops are filled by reflection; ours show what lies beside "
            "the crop in the image, and the reflection only beyond the image",
            "its code stops 45 epochs after the best pixel accuracy, a mean over batches, and "
            "keeps the last; ours keeps the epoch of the best Jaccard index of the lesion, a mean "
            "over images",
            "training reads images of 369x246 px, stored once, not the originals",
        ),
        ("seg-6", "seg-7", "seg-8"): (_NO_SUCH_ROW,),
    },
}


def of(profile: str, name: str) -> tuple[str, ...]:
    """The sentences about a row in a profile.

    >>> len(of("demo", "1-3"))
    0
    """
    return tuple(
        text for rows, texts in TEXTS.get(profile, {}).items() if name in rows for text in texts
    )
