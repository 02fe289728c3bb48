"""The declarations of arrays suffice to save and load all that the model knows, in the middle of a replay."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from eptreplay.model._numba.arrays import arrays_in
from eptreplay.model.access_loop.sweep import scan
from eptreplay.model.instances import GuestMemory, flat_page
from eptreplay.model.state.rows import rows_of
from eptreplay.model.vm.vm_limits import HostMemory
from eptreplay.profiles import resolve
from eptreplay.replay.driver.replay import Replay
from eptreplay.request.choices import MissRatio, Policy
from eptreplay.request.options import TlbOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PAGE = 4096
GUEST = GuestMemory(np.array([[0, 600], [650, 1400]], np.int64), 2)
PROFILES = ("ept-ad", "ept-emul", "x86", "broadwell")  # the last one logs page modifications
PIECES = 12
ROWS = 600  # of a piece


def replay_of(profiles: tuple[str, ...] = PROFILES, guests: int = 1, **options: Any) -> Replay:  # noqa: ANN401 - Replay's own
    return Replay([resolve(name) for name in profiles], [GUEST] * guests, intervals=PIECES, **options)


def alone(**options: Any) -> Callable[[], Replay]:  # noqa: ANN401 - Replay's own
    return lambda: replay_of(**options)


def scarce() -> Replay:
    """Return two guests on a host that has too few frames for both."""
    hosts = [HostMemory(frames=1500, identity=False, page_tables_count=True)] * 2
    return replay_of(("ept-ad", "ept-emul"), 2, hosts=hosts)


CASES: dict[str, tuple[Callable[[], Replay], Policy]] = {
    "plain": (alone(), Policy.PLAIN),
    "age": (alone(profiles=("ept-ad", "x86")), Policy.AGE),
    "harvest": (alone(), Policy.HARVEST),
    "TLBs": (alone(tlb=TlbOptions(structures=4)), Policy.AGE),
    "exact reuse": (alone(mrc=MissRatio.EXACT), Policy.PLAIN),
    "sampled reuse": (alone(mrc=MissRatio.SHARDS), Policy.PLAIN),
    "page daemon": (scarce, Policy.PLAIN),
}


def replay_pieces(replay: Replay, policy: Policy, pieces: range) -> list[bytes]:
    """Replay some pieces of a random trace; return what is known at the end of each, an interval."""
    found = []
    for number in pieces:
        rng = np.random.default_rng(number)
        guest = rng.integers(0, len(replay.guests), ROWS).astype(np.uint8)
        page = rng.integers(0, 1400, ROWS) if number % 3 else np.arange(ROWS) % 1000
        begin = np.array([flat_page(replay.guests, number, 0) for number in range(len(replay.guests))])
        others: dict[str, Any] = {"size": rng.integers(1, 17, ROWS).astype(np.uint16)}
        if len(replay.guests) > 1:
            others |= {"guest": guest, "row": np.arange(ROWS) + replay.rows}
        rows = rows_of(
            (page + begin[guest]).astype(np.uint64) * np.uint64(PAGE) + np.uint64(PAGE - 8),
            rng.choice(3, ROWS, p=[0.5, 0.3, 0.2]).astype(np.uint8),
            rng.integers(0, 2, ROWS).astype(np.uint16),
            **others,
        )
        replay.replay_rows(rows, 0, ROWS, replay.rows)
        replay.sweep(policy)
        if replay.hosts:
            scan(replay.states)
        replay.close_interval()
        snapshots = [replay.snapshot(None, guest) for guest in range(len(replay.guests))]
        found += [bytes_of(snapshot.cnt) + bytes_of(snapshot.pmap) for snapshot in snapshots]
        found += [statistics_of(snapshot.statistics) for snapshot in snapshots]
    return found


def statistics_of(closed: Any) -> bytes:  # noqa: ANN401 - ClosedInterval
    """Return what the interval statistics say of the interval that closed last."""
    returns = [part for history in closed.returns for part in (history.before, history.pages)]
    parts = [closed.tally, closed.stretch, closed.heat, closed.first_writes, *returns]
    return b"".join(map(bytes_of, parts))


def bytes_of(array: np.ndarray[Any, Any]) -> bytes:
    """Return the contents of an array; of records field by field, since what is between them has no meaning."""
    return b"".join(array[name].tobytes() for name in array.dtype.names or ()) or array.tobytes()


def through_a_file(kept: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return arrays as they come back from files."""
    found: dict[str, dict[str, Any]] = {}
    for structure, arrays in kept.items():
        file = io.BytesIO()
        np.savez(file, **arrays)
        file.seek(0)
        with np.load(file) as loaded:
            found[structure] = dict(loaded)
    return found


def all_arrays(replay: Replay) -> dict[str, bytes]:
    """Return the contents of all arrays."""
    replay.write_deferred()
    found = {}
    for structure, arrays in replay.saved().items():
        for name, array in arrays.items():
            found[f"{structure}.{name}"] = bytes_of(array)
    return found


@pytest.mark.parametrize("case", CASES)
def test_a_replay_goes_on_from_arrays_that_were_saved_in_its_middle(case: str) -> None:
    new, policy = CASES[case]
    whole = new()
    replay_pieces(whole, policy, range(PIECES // 2))
    kept = through_a_file(whole.saved())
    expected = replay_pieces(whole, policy, range(PIECES // 2, PIECES))

    other = new()
    other.load(kept)
    other.rows = PIECES // 2 * ROWS
    assert replay_pieces(other, policy, range(PIECES // 2, PIECES)) == expected
    assert other.state_sums() == whole.state_sums()
    assert other.tlb_counters().tobytes() == whole.tlb_counters().tobytes()
    assert all_arrays(other) == all_arrays(whole)


def test_a_host_that_is_saved_has_a_page_daemon_at_work() -> None:
    replay = scarce()
    replay_pieces(replay, Policy.PLAIN, range(PIECES // 2))
    assert replay.states.cnt["laundered"].sum() > 0
    assert replay.states.vm["out_of_memory"].sum() == 0


def test_saved_arrays_are_copies_and_loaded_ones_are_new_memory() -> None:
    replay = replay_of(mrc=MissRatio.EXACT)
    kept = replay.saved()
    before = {name: array.tobytes() for name, array in kept["State"].items()}
    other = replay_of(mrc=MissRatio.EXACT)
    other.load(kept)
    replay_pieces(other, Policy.PLAIN, range(1))
    assert {name: array.tobytes() for name, array in kept["State"].items()} == before
    assert other.reuse.watched is other.states.fast_path
    for structure in (other.states, other.statistics, other.log, other.tlbs, other.reuse):
        for name in arrays_in(type(structure)):
            assert not np.shares_memory(getattr(structure, name), kept[type(structure).__name__][name]), name
