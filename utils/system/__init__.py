"""What every room stands on: files, terminal, disk and machine.

It holds the errors with their messages, atomic writes, locks, progress bars, disk space and the
checks of parameters. Touch it when something about the computer changes, never for an idea about
lesions. It imports no other room.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
