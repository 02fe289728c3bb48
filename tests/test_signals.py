"""Signals end a command also when they come while compiled code calls back into Python."""

from __future__ import annotations

import ctypes
import signal
import time

import pytest

from eptreplay.run.signals import Stopped, raised


def test_a_signal_within_a_callback_is_raised_after_it(capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[int] = []

    def signalled() -> None:
        calls.append(1)
        signal.raise_signal(signal.SIGTERM)

    callback = ctypes.CFUNCTYPE(None)(signalled)
    with pytest.raises(Stopped) as stopped, raised() as came:  # noqa: PT012 - the signal ends the loop at any of its steps
        callback()
        for _ in range(1000):
            time.sleep(0.01)
    assert stopped.value.number == signal.SIGTERM
    assert len(came) >= 2
    assert calls == [1]
    assert capsys.readouterr().err == ""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_other_errors_within_a_callback_are_reported_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", lambda unraisable: reported.append(unraisable.exc_type))

    def wrong() -> None:
        raise OverflowError

    with raised():
        ctypes.CFUNCTYPE(None)(wrong)()
    assert reported == [OverflowError]
