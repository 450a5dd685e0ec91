"""Freed memory is kept inside, and given back at the end."""

import platform
import resource
import subprocess
import sys

import pytest

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's malloc")
# In a process of its own, as malloc remembers what was freed before.
SCRIPT = """
import ctypes
import resource
import psutil
from utils.system.allocation import memory_kept

ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: huge pages would be few

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        b"x" * 2**26
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def held():
    return psutil.Process().memory_info().rss

before = held()
given_back = faults()
with memory_kept():
    faults()
    with memory_kept():
        pass  # an inner one changes nothing
    kept, most = faults(), held()
print(given_back, kept, faults(), most - before, held() - before)
"""


@glibc
def test_pages_are_kept_inside_and_given_back_at_the_end() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, check=True, text=True
    )
    given_back, kept, after, most, left = map(int, done.stdout.split())
    pages = 2**26 // resource.getpagesize()
    assert given_back > 5 * pages * 0.9 > 5 * pages * 0.1 > kept
    assert after > 5 * pages * 0.9
    assert most > 2**26 * 0.9
    assert left < 2**26 * 0.2
