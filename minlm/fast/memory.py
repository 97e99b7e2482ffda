"""Memory that the C library keeps instead of giving it back to the system."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # from glibc's malloc.h


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next tensors; with another C library this does nothing.

    By default large tensors get fresh pages from the kernel each time, which then fills them with zeros: up to a
    quarter of the time of a small model's training step on a CPU.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(M_MMAP_MAX, 0)  # everything from the heap, …
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)  # … which keeps up to 2 GB at its end
