"""Data, training, scores and figures; networks reach these modules only as arguments."""
