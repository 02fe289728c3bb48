from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest

from eptreplay.ingest.stores import remote_file
from eptreplay.ingest.stores.remote_file import Ends, OpenObject

DATA = np.random.default_rng(3).bytes(3_000_000)


class Counted:
    """An object whose requests are counted."""

    def __init__(self) -> None:
        self.requests: list[tuple[int, int]] = []
        self.file = OpenObject(self.read, Ends(len(DATA), DATA[:4096], DATA[-65536:]))

    def read(self, begin: int, end: int) -> bytes:
        self.requests.append((begin, end))
        return DATA[begin:end]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits a hundredth of what they are, so that a small object meets them."""
    monkeypatch.setattr(remote_file, "PIECE_BYTES", 80_000)
    monkeypatch.setattr(remote_file, "AT_ONCE_BYTES", 640_000)
    monkeypatch.setattr(remote_file, "GAP_BYTES", 300)


def test_any_reads_in_any_order_give_the_bytes_that_are_there() -> None:
    counted = Counted()
    random = np.random.default_rng(1)
    for _ in range(300):
        begins = random.integers(0, len(DATA), 3)
        ranges = [
            (int(begin), int(begin + length))
            for begin, length in zip(begins, random.integers(0, 400_000, 3), strict=True)
        ]
        if random.random() < 0.3:
            counted.file.expect(ranges)
        for begin, end in ranges:
            at = begin
            while at < min(end, len(DATA)):
                length = int(random.integers(1, 150_000))
                assert counted.file.read_at(length, at) == DATA[at : at + length]
                at += length
    assert all(end - begin <= 150_000 for begin, end in counted.requests)


def test_what_is_expected_is_fetched_once_and_what_lies_close_together_by_one_request() -> None:
    counted = Counted()
    counted.file.expect([(10_000, 20_000), (20_200, 30_000), (500_000, 560_000)])
    assert sorted(counted.requests) == [(10_000, 30_000), (500_000, 560_000)]
    for begin in (10_000, 20_200, 500_000, 559_000):
        counted.file.read_at(900, begin)
    counted.file.expect([(20_200, 30_000)])
    assert len(counted.requests) == 2


def test_what_is_too_large_at_once_is_fetched_in_pieces_and_not_beyond_its_end() -> None:
    counted = Counted()
    counted.file.expect([(100_000, 600_000), (700_000, 1_200_000)])
    assert counted.requests == []
    for offset in range(0, 500_000, 10_000):  # two columns, in turn
        for begin in (100_000, 700_000):
            assert (
                counted.file.read_at(10_000, begin + offset) == DATA[begin + offset : begin + offset + 10_000]
            )
    assert len(counted.requests) == 2 * 7
    assert len(set(counted.requests)) == len(counted.requests)
    assert sum(end - begin for begin, end in counted.requests) == 1_000_000


def test_the_ends_are_there_already() -> None:
    counted = Counted()
    assert counted.file.read(4) == DATA[:4]
    assert counted.file.seek(-8, io.SEEK_END) == len(DATA) - 8
    assert counted.file.read() == DATA[-8:]
    assert counted.file.read(1) == b""
    assert counted.requests == []


def test_a_digest_is_made_of_all_bytes() -> None:
    file = Counted().file
    assert hashlib.file_digest(file, "sha256").hexdigest() == hashlib.sha256(DATA).hexdigest()


def test_reading_from_end_to_end_takes_few_requests() -> None:
    counted = Counted()
    assert b"".join(iter(lambda: counted.file.read(10_000), b"")) == DATA
    assert sum(end - begin for begin, end in counted.requests) < len(DATA) + 80_000
    assert len(counted.requests) <= len(DATA) // 80_000 + 3


def test_an_error_of_one_request_is_raised() -> None:
    def broken(begin: int, end: int) -> bytes:
        if begin <= 1_000_000 < end:
            raise RuntimeError("broken")
        return DATA[begin:end]

    file = OpenObject(broken, Ends(len(DATA), DATA[:4096], DATA[-65536:]))
    with pytest.raises(RuntimeError, match="broken"):
        file.expect([(900_000, 1_300_000)])
