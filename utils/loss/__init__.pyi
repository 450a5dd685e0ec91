from . import labels as labels
from . import masks as masks
from .table import LOSSES as LOSSES
from .table import build as build
