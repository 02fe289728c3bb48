"""The decorators that compile every kernel, and where the compiled code is kept.

Numba's own cache looks only at the file a function stands in, so a change in a callee or in a constant
elsewhere would leave stale machine code behind.  The cache folder is therefore named after a digest of
every file that kernels are made from, numba's version and its environment flags.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import config as _config

config: Any = _config  # its settings are made at run time
njit: Any = numba.njit  # its types leave out the options used here
types: Any = numba.types  # they have no types

Function = TypeVar("Function", bound=Callable[..., Any])


PACKAGE = Path(__file__).parent
SOURCES = (
    Path(__file__),
    *PACKAGE.glob("model/*.py"),
    PACKAGE / "ingest/look.py",
    PACKAGE / "ingest/schema.py",
)
"""The files that kernels, and the constants in them, are made from."""


def _digest() -> str:
    """Return a digest of all that decides the machine code of the kernels."""
    digest = hashlib.sha256(f"{numba.__version__} {sys.version_info[:2]}".encode())
    for name in sorted(name for name in os.environ if name.startswith("NUMBA_")):
        digest.update(f"{name}={os.environ[name]}\n".encode())
    for file in sorted(SOURCES):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:20]


def _cache_root() -> Path:
    """Return the folder under which compiled kernels are kept (XDG base directories)."""
    base = os.environ.get("EPTREPLAY_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    return Path(base) if base else Path.home() / ".cache"


CACHE_DIR = _cache_root() / "eptreplay" / "kernels" / _digest()


def _compile(function: Function, **options: bool | str) -> Function:
    """Compile without the interpreter lock, without reference counting, into this package's cache.

    Arrays travel from kernel to kernel.  Counting references to all of them at every call makes a call
    about ten times slower; kernels allocate nothing, so there is nothing to count
    (`_nrt=False`, private to numba: tests/test_compiled.py watches it).
    """
    before = config.CACHE_DIR
    config.CACHE_DIR = str(CACHE_DIR)
    try:
        compiled: Function = njit(
            nogil=True, _nrt=False, error_model="numpy", no_cfunc_wrapper=True, **options
        )(function)
    finally:
        config.CACHE_DIR = before
    return compiled


def kernel(function: Function) -> Function:
    """Compile a function that other kernels call; Python cannot, which saves a third of the compile time."""
    return _compiled_once(_compile(function, cache=False, no_cpython_wrapper=True))


def _compiled_once(compiled: Function) -> Function:
    """Let a function be compiled for 64-bit integers where it is called with shorter ones, or with constants.

    Numba would compile it, and all that calls it, for each of them again.  Unsigned ones stay what they are.
    """
    dispatcher: Any = compiled
    if not config.DISABLE_JIT:
        template = dispatcher.get_call_template
        dispatcher.get_call_template = lambda args, kws: template([_widened(kind) for kind in args], kws)
    return compiled


def _widened(kind: Any) -> Any:  # noqa: ANN401 - a numba type
    """Return the type that an argument of a kernel gets."""
    kind = types.unliteral(kind)
    return types.int64 if kind in types.signed_domain else kind


def part(function: Function) -> Function:
    """Compile a function as a part of each kernel that calls it: for one that few call.

    Every kernel is optimised together with all that it calls, so one on a long path to much code costs seconds to
    compile; a part costs nothing of its own, but is compiled again at every call.
    """
    return _compile(function, cache=False, no_cpython_wrapper=True, inline="always")


def entry_point(function: Function) -> Function:
    """Compile a function that Python calls."""
    return _compile(function, cache=True)


def compiled_before(function: Callable[..., Any]) -> bool:
    """Return whether an entry point of exactly this source has been compiled on this machine, or need not be."""
    name = getattr(function, "__name__", "")
    return bool(config.DISABLE_JIT) or any(CACHE_DIR.glob(f"**/*.{name}-*.nbc"))
