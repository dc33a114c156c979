"""Makes torch work in the calling thread alone, while other threads keep torch as it is."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Make torch work in the calling thread alone, until the block ends.

    Torch's other threads spin while they wait for work, and would take the processor from ours.
    `torch.set_num_threads` sets the number for the whole process, and two calls that overlap would
    leave it wrong. OpenMP has a number for each thread (OpenMP 5.2, section 2.4, nthreads-var), and
    so has MKL, which multiplies matrices (mkl_set_num_threads_local). If this torch uses neither,
    nothing happens, and training takes longer.
    """
    openmp = _openmp()
    if openmp is None:
        yield
        return
    torch.get_num_threads()  # a thread gets its number when it first uses torch
    threads = openmp.omp_get_max_threads()
    set_mkl_threads = getattr(openmp, "MKL_Set_Num_Threads_Local", None)
    mkl_threads = set_mkl_threads(1) if set_mkl_threads else 0  # 0: the number of the process
    openmp.omp_set_num_threads(1)
    try:
        yield
    finally:
        openmp.omp_set_num_threads(threads)
        if set_mkl_threads:
            set_mkl_threads(mkl_threads)


@cache
def _openmp() -> ctypes.CDLL | None:
    """Torch's own library, which gives OpenMP's functions and MKL's; None without OpenMP."""
    try:
        library = ctypes.CDLL(torch._C.__file__)
        library.omp_get_max_threads, library.omp_set_num_threads  # noqa: B018
    except (OSError, AttributeError):
        return None
    return library
