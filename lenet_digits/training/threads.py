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
    leave it wrong. OpenMP keeps a number for each thread (OpenMP 5.2, section 2.4, nthreads-var),
    and so does MKL, which multiplies matrices (mkl_set_num_threads_local). Where torch does not use
    them, nothing happens: training takes longer.
    """
    openmp = _openmp()
    if openmp is None:
        yield
        return
    torch.get_num_threads()  # sets this thread's number, if this is its first use of torch
    threads = openmp.omp_get_max_threads()
    set_mkl_threads = getattr(openmp, "MKL_Set_Num_Threads_Local", None)
    mkl_threads = set_mkl_threads(1) if set_mkl_threads else 0  # 0: as many as the process has
    openmp.omp_set_num_threads(1)
    try:
        yield
    finally:
        openmp.omp_set_num_threads(threads)
        if set_mkl_threads:
            set_mkl_threads(mkl_threads)


@cache
def _openmp() -> ctypes.CDLL | None:
    """Torch's own library, through which OpenMP's functions and MKL's are found."""
    try:
        library = ctypes.CDLL(torch._C.__file__)
        library.omp_get_max_threads, library.omp_set_num_threads  # noqa: B018
    except (OSError, AttributeError):
        return None
    return library
