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
    "its crops have width and height exchanged by a slip, and are black beyond the image; ours are "
    "not, as no other study could be compared with them",
    "its crops are PNG files of 224 px, cut anew from the originals for each test; ours are JPEG "
    "files of 256 px, and test crops come from images of 256 px, so that small ones are blurred",
    "its nine test crops lie elsewhere in each test; ours are fixed by the image's id, so that "
    "scores repeat",
    "of epochs with equal accuracy it kept the last, we keep the first",
)

_PUBLISHED = ("1-1", "1-2", "1-3", "1-4", "1-6", "2-1", "2-2", "2-3", "2-4", *_SEGMENTERS[:5])
_OUR_OWN = (
    "this profile is our own recipe, not that of the published numbers: other crops, epochs and "
    "rates; {}; no archive images are trained on"
)

TEXTS: Texts = {
    "best": {_PUBLISHED: (_OUR_OWN.format("a hold-out chooses the epoch"),)},
    "light": {_PUBLISHED: (_OUR_OWN.format("the last epoch is kept"),)},
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
        ),
        _FOURTEEN: (
            "ImageNet's weights are what its committed code decides (arlnet18(pretrained=True)); "
            "what was run for the printed table cannot be proven",
        ),
        ("1-1",): (
            "its last notebook of this row trains with focal loss [2.5, 2.5, 0.5]; here is the "
            "cross-entropy of its table",
        ),
        ("2-1", "2-2"): (
            "its focal loss overwrote its class weights on the first batch, and left one number "
            "for all classes after a few; ours keeps them, as its table says",
        ),
        ("1-5", "3-1", "3-2", "3-3", "3-4", "3-5", "4-1", "4-2"): (_NO_SUCH_ROW,),
        ("1-4", "1-6"): _ONE_STUDY,
        _SEGMENTERS: (
            "the strength of its Gaussian noise is not recorded; ours is 0.02 of the range",
            "beside a rotated image lies its reflection; how its own border was filled is not "
            "recorded",
            "its Dice is recorded as of both classes and squared, not whether per image; ours is "
            "the mean over images",
            "training reads images of 369x246 px, stored once, not the originals",
        ),
        ("seg-5",): (
            "how it came from its finest map, of half the sides, to full size is not recorded; "
            "ours is linear, which has no parameters and gives its 19.07 M",
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
