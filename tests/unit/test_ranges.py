"""Reading in ranges: what was fetched is hashed on the way, once."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from mindgraph_storage.errors import DataLoss, Unavailable
from mindgraph_storage.tiers.ranges import Passing, Ranges, ignored
from mindgraph_storage.tiers.verified import Verified

DATA = bytes(range(256)) * (100_000)
CHECKSUM = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


class Store:
    """Gives ranges in chunks; the request of this number, counted from 1, breaks off in the middle."""

    def __init__(self, data: bytes = DATA, *, breaks: int = 0) -> None:
        self.data, self.breaks, self.requests = data, breaks, list[Passing]()

    def read(self, start: int, length: int, passing: Passing) -> bytes:
        self.requests.append(passing)
        found = self.data[start : start + length]
        for at in range(0, len(found), 1 << 20):
            if len(self.requests) == self.breaks and at:
                raise Unavailable("it broke off")
            passing(found[at : at + (1 << 20)])
        return found


def _verified(store: Store) -> Verified:
    raw: Any = Ranges(store.read, len(DATA))
    return Verified(raw, "memory://x", len(DATA), CHECKSUM)


def test_a_request_that_broke_off_counts_for_nothing() -> None:
    """Who reads on after it gets all bytes, and they are those of the checksum."""
    store = Store(breaks=2)
    stream, chunks = _verified(store), list[bytes]()
    while True:
        try:
            chunk = stream.read(1 << 22)
        except Unavailable:
            continue
        if not chunk:
            break
        chunks.append(chunk)
    assert b"".join(chunks) == DATA
    assert len(store.requests) > 2


def test_one_byte_that_changed() -> None:
    changed = bytearray(DATA)
    changed[-1] ^= 1
    with pytest.raises(DataLoss, match="has changed"):
        _verified(Store(bytes(changed))).readall()


def test_what_is_read_after_a_seek_is_not_hashed_again() -> None:
    """All of it was verified before."""
    store = Store()
    stream = _verified(store)
    stream.seek(5)
    verified = len(store.requests)
    assert stream.read(3) == DATA[5:8]
    assert store.requests[verified:] == [ignored]
