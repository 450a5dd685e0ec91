"""From predictions to numbers: scores in their conventions, each with an interval, and comparisons.

Contains `counts`, the scores of `labels` and of `masks`, intervals, tests, curves, calibration,
thresholds, subgroups and the submission file. Add another score here: a pure function of counts. It
imports `model`, `logger`, `data` and `system`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
