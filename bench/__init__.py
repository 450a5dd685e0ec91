"""How fast this is, beside the way the earlier code did the same: `python -m bench`.

Every measure puts two or more ways of doing one thing side by side in one run, in turns, and keeps
all times. Nothing here is needed for training or evaluation.
"""
