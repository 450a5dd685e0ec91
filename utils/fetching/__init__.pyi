from . import sources as sources
from . import verification as verification
from .extras import fetch_extras as fetch_extras
from .official import fetch_set as fetch_set
from .sources import BASE_URL as BASE_URL
from .sources import PARTS as PARTS
from .sources import sources_of as sources_of
from .verification import verify as verify
