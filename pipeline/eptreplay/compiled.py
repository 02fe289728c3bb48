"""The decorators that compile every kernel, and which compiled code may be used again.

Numba's own cache looks only at the file a function stands in, so a change in a callee or in a constant
elsewhere would leave stale machine code behind; where it cannot write, it goes elsewhere without a word.  So it is not used:
entry points have a cache of their own (KernelCache), in a folder named after a digest of every file that kernels
are made from, of the versions of numba and of what it is built on, and of numba's settings.  It does not depend on where these
files lie or when they were written, so all copies of one version share their code.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import llvmlite
import numba
import numpy as np
from numba.core import caching as _caching
from numba.core import compiler as _compiler
from numba.core import config as _config
from numba.core import serialize as _serialize

from eptreplay.kernel_files import VARIABLE, KernelFiles

config: Any = _config  # its settings are made at run time
caching: Any = _caching
compiler: Any = _compiler
serialize: Any = _serialize
njit: Any = numba.njit  # its types leave out the options used here
types: Any = numba.types  # they have no types

Function = TypeVar("Function", bound=Callable[..., Any])


PACKAGE = Path(__file__).parent
SOURCES = (
    Path(__file__),
    *PACKAGE.glob("model/**/*.py"),
    PACKAGE / "ingest/importing/page_numbers.py",
    PACKAGE / "ingest/logs/text_numbers.py",
    PACKAGE / "ingest/logs/text_scan.py",
    PACKAGE / "ingest/native/plain_scan.py",
    PACKAGE / "ingest/native/row_scan.py",
    *PACKAGE.glob("ingest/scans/*.py"),
    PACKAGE / "ingest/trace/schema.py",
)
"""The files that kernels, and the constants in them, are made from."""

WITHOUT_EFFECT = ("CACHE_", "COLOR_", "CUDA_", "NUMBA_DEFAULT_NUM_THREADS", "NUMBA_NUM_THREADS")
"""How the settings of numba begin that leave the machine code as it is."""


def _digest() -> str:
    """Return a digest of all that decides the machine code of the kernels, but for the CPU and the types."""
    versions = (numba.__version__, llvmlite.__version__, np.__version__, sys.version_info[:2], sys.abiflags)
    digest = hashlib.sha256(f"{versions}\n".encode())
    for name in sorted(dir(config)):
        if name.isupper() and not name.startswith(WITHOUT_EFFECT):
            digest.update(f"{name}={getattr(config, name)!r}\n".encode())
    for file in sorted(SOURCES):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(PACKAGE).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:20]


def _cache_root() -> Path | None:
    """Return the folder under which compiled code is kept (XDG base directories), None if the user has no home."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).absolute()
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if base.is_absolute():  # a relative one is to be ignored
        return base
    try:
        return Path.home() / ".cache"
    except RuntimeError:
        return None


def _sources_are_the_same() -> bool:
    """Return whether no source was exchanged or removed since the digest was made."""
    try:
        return _digest() == DIGEST
    except OSError:
        return False


DIGEST = _digest()
ROOT = _cache_root()
CACHE_DIR = ROOT and ROOT / "eptreplay" / "kernels" / DIGEST
FILES = KernelFiles(CACHE_DIR)


class KernelCache(caching._Cache):  # type: ignore[misc]  # noqa: SLF001 - numba's interface of caches, which it publishes no other way
    """What numba asks for the compiled code of an entry point before it compiles, and gives it to afterwards.

    A miss is followed by compiling, always and alone, so it is said here.  Numba holds its lock meanwhile.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        """Take a function that stands in one of SOURCES."""
        code = function.__code__
        module = Path(code.co_filename).relative_to(PACKAGE).with_suffix("").as_posix()
        self._name = f"{module.replace('/', '.')}.{code.co_qualname}"
        self._code = hashlib.sha256(code.co_code).hexdigest()

    @property
    def cache_path(self) -> str:
        """The folder."""
        return str(CACHE_DIR)

    def load_overload(self, sig: Any, target_context: Any) -> Any:  # noqa: ANN401 - numba's
        """Return the compiled code of a signature; None if there is none, after saying that it is compiled now."""
        target_context.refresh()  # knows what compiled code calls
        code = FILES.load(*self._place(sig, target_context.codegen()))
        if code is None:
            FILES.announce()
            return None
        return compiler.CompileResult._rebuild(target_context, *pickle.loads(code))  # noqa: S301, SLF001 - verified by FILES; as numba's own cache does

    def save_overload(self, sig: Any, data: Any) -> None:  # noqa: ANN401 - numba's
        """Keep the compiled code of a signature, unless sources were exchanged while it was made."""
        if not data.library.has_dynamic_globals and _sources_are_the_same():
            code = serialize.dumps(data._reduce())  # noqa: SLF001 - as numba's own cache does
            FILES.save(*self._place(sig, data.codegen), code)

    def _place(self, sig: Any, codegen: Any) -> tuple[str, str]:  # noqa: ANN401 - numba's
        """Return the name of a file and the whole of what its code was made for."""
        key = repr(
            (DIGEST, self._name, self._code, sig, codegen.magic_tuple())
        )  # the latter: CPU and its features
        return f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:20]}.nbc", key

    def enable(self) -> None:
        """Do nothing: it is always on."""

    def disable(self) -> None:
        """Do nothing: it is always on."""

    def flush(self) -> None:
        """Do nothing: a file is replaced by the next one of its name."""


def _compile(function: Function, **options: bool | str) -> Function:
    """Compile without the interpreter lock and without reference counting.

    Arrays travel from kernel to kernel.  Counting references to all of them at every call makes a call
    about ten times slower; kernels allocate nothing, so there is nothing to count
    (`_nrt=False`, private to numba: tests/test_compiled.py watches it).
    """
    compiled: Function = njit(
        nogil=True, _nrt=False, error_model="numpy", no_cfunc_wrapper=True, cache=False, **options
    )(function)
    return compiled


def kernel(function: Function) -> Function:
    """Compile a function that other kernels call; Python cannot, which saves a third of the compile time."""
    return _compiled_once(_compile(function, no_cpython_wrapper=True))


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
    return _compile(function, no_cpython_wrapper=True, inline="always")


def entry_point(function: Function) -> Function:
    """Compile a function that Python calls; what it becomes is kept if its file is one of SOURCES."""
    compiled = _compile(function)
    if not config.DISABLE_JIT and Path(function.__code__.co_filename) in SOURCES:
        dispatcher: Any = compiled
        dispatcher._cache = KernelCache(function)  # noqa: SLF001 - where numba puts its own, before anything is compiled
    return compiled
