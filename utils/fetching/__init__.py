"""ISIC 2017 from the network: downloaded, unpacked and verified to the last byte.

Here live the list of files, resumable downloads, the unpacking of archives, the further images of
an enlarged list, and the check of a complete tree. Touch `sources` for another mirror or set,
`verification` for another check. It imports `data` and `system`; prepare_data.py uses it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
