"""Let the C library keep freed memory instead of returning it to the system."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # from glibc's malloc.h


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next tensors; does nothing with another C library.

    By default each large tensor gets fresh pages from the kernel, which fills them with zeros first. That takes up to a
    quarter of a small model's training step on a CPU.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(M_MMAP_MAX, 0)  # everything from the heap, …
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)  # … which keeps up to 2 GB at its end
