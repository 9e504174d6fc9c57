"""Large pages of memory for arrays that a kernel fills.

Memory that was never touched comes from the system one page at a time; for an array of 100 MB in pages of 4 kB that
takes as long as two or three passes over it. NumPy asks Linux for large pages itself; torch and XLA don't.
"""

from __future__ import annotations

import mmap
import sys

from numba import types

from dynplat.scan.kernels.compiling import compiled

#: Whether the system can be asked, and the number of the advice.
_ADVICE = int(getattr(mmap, "MADV_HUGEPAGE", -1)) if sys.platform == "linux" else -1
_PAGE = mmap.PAGESIZE
#: Bytes from which on large pages pay; NumPy's bound.
_LARGE = 1 << 22

_madvise = types.ExternalFunction("madvise", types.intc(types.uintp, types.uintp, types.intc))

if _ADVICE >= 0:

    @compiled
    def use_large_pages(array):
        """Ask for large pages for an array that is about to be filled; a wish that the system may not heed."""
        size = array.size * array.itemsize
        if size >= _LARGE:
            start = array.ctypes.data // _PAGE * _PAGE + _PAGE
            _madvise(start, size - _PAGE, _ADVICE)

else:

    @compiled
    def use_large_pages(array):
        """Do nothing: this system has no such wish."""
