"""What every room stands on: the files, the terminal, the disk and the machine.

Here live the errors in words, atomic writes, locks, lines and bars, room on the disk, and what a
parameter may be. Touch it when something about the computer changes, never for an idea about
lesions. It imports no other room.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
