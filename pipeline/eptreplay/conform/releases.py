"""Which release a recording is of: its files name the kernel that answered, and those of 10.0 name none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from eptreplay.errors import TraceError
from eptreplay.model.state.releases import ASSERTIONS, FREEBSD_10_0, FREEBSD_14_0, FREEBSD_14_LATER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eptreplay.model.state.state import State

UNNAMED: Final = "10.0"

_RECORDED: Final = {
    UNNAMED: FREEBSD_10_0,
    "14.0-CURRENT 2022-07": FREEBSD_14_0,
    "14-later (2023-10 functions)": FREEBSD_14_LATER,
}


def release_text(recording: Mapping[str, Any]) -> str:
    """Return what a recording calls its release."""
    return str(recording.get("release") or UNNAMED)


def release_of(recording: Mapping[str, Any], where: str) -> int:
    """Return the release whose rules answer a recording, FREEBSD_* of model/state/releases.py.

    Raises:
        TraceError: it names one that is not modelled.
    """
    text = release_text(recording)
    if text not in _RECORDED:
        raise TraceError(
            where,
            f"the release is {text[:60]!r}",
            column="release",
            expected=" or ".join(repr(name) for name in _RECORDED),
        )
    return _RECORDED[text]


def refuse_asserted(st: State, where: str, operation: str) -> None:
    """Refuse an operation in which something occurs that the kernel asserts never does, if that is why it was the last.

    Raises:
        TraceError: with what that is.
    """
    asserted = int(st.host[0].asserted)
    if asserted:
        raise TraceError(
            where,
            f"the kernel asserts that this never occurs: {ASSERTIONS[asserted]}, in {operation}",
            expected="operations at which a kernel with INVARIANTS goes on",
        )
