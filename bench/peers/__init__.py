"""How fast this is, beside what else one would use: `make bench-peers`.

Every contender trains the same network on the same images, written the way its own tutorial does.
Each is a module with `train(job, turn)`, which calls `turn()` at the end of every epoch, and `WAY`,
what it does differently.
"""

PARTS = ("labels", "masks", "originals")
LINES = ("fp32", "bf16", "defaults")
