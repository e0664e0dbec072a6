"""The C library's allocator: whether it keeps freed memory or gives it back to the kernel."""

import ctypes


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next tensor; say whether it could be told so.

    By default glibc hands the large blocks of every layer back to the kernel and gets them anew,
    zeroed page by page: 8 % of an update's time on a CPU (67 against 73 ms, the embedded model, 32
    rows of 247 + 24 tokens). The peak stays the same. Does nothing on other C libraries.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    # From malloc.h: blocks up to 32 MiB, the most it takes, come from memory that the process has,
    # which is given back only beyond 2 GiB and grows by 64 MiB at a time.
    m_mmap_threshold, m_trim_threshold, m_top_pad = -3, -1, -2
    settings = ((m_mmap_threshold, 2**25), (m_trim_threshold, 2**31 - 1), (m_top_pad, 2**26))
    taken = [mallopt(name, value) == 1 for name, value in settings]
    return all(taken)


def give_back_freed_memory() -> bool:
    """Give the memory that is free in the C library's heap back to the kernel; say whether any was.

    A heap that keeps what is freed has at last the pages of every batch's layout and of all that a
    checkpoint was copied through: 2.7 % more after 2,000 steps (benchmarks/long_run.py). The next
    step gets its pages anew, 0.1 s on the embedded model, so this is for moments that are rare.
    Does nothing on other C libraries.
    """
    try:
        return ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0)) == 1
    except (OSError, AttributeError, TypeError):
        return False
