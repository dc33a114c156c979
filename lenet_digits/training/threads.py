"""Has torch work in the calling thread alone, without a change that another thread could see."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Has torch work in the calling thread.

    Its other threads wait busily for more work, and would take the processor from our own.
    `torch.set_num_threads` would set the number for the whole process, and calls that overlap would
    leave it wrong. OpenMP keeps a number for each thread (OpenMP 5.2, section 2.4, nthreads-var).
    Where torch does not use OpenMP, nothing happens: training takes longer.
    """
    openmp = _openmp()
    if openmp is None:
        yield
        return
    torch.get_num_threads()  # sets this thread's number, if this is its first use of torch
    threads = openmp.omp_get_max_threads()
    openmp.omp_set_num_threads(1)
    try:
        yield
    finally:
        openmp.omp_set_num_threads(threads)


@cache
def _openmp() -> ctypes.CDLL | None:
    """The OpenMP library that torch uses, found as one that torch's own library depends on."""
    try:
        library = ctypes.CDLL(torch._C.__file__)
        library.omp_get_max_threads, library.omp_set_num_threads  # noqa: B018
    except (OSError, AttributeError):
        return None
    return library
