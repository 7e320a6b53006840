"""The service against a plain dict: whatever is done in whatever order, both say the same."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from mindgraph_storage import (
    AlreadyExists,
    NotFound,
    PermissionDenied,
    StorageClient,
    StorageError,
    open_storage,
)
from tests.postgres_server import PostgresServer

from .checks import LARGE, at_a_later_time, content, must_be_sound

EXAMPLES = int(os.environ.get("MINDGRAPH_CRASH_ROUNDS", "25"))
OPERATOR = "operator"
Visibility = Literal["trace", "private", "public"]


@dataclass
class Entry:
    """What the model knows of an artifact."""

    id: str
    trace_id: str
    name: str
    version: int
    supersedes: str | None
    owner: str
    visibility: str
    data: bytes
    deleted: bool = False
    has_bytes: bool = field(default=True, compare=False)


agents = st.sampled_from([OPERATOR, "agent.a", "agent.b"])
traces, names = st.sampled_from(["t1", "t2"]), st.sampled_from(["idea", "draft"])
visibilities = st.sampled_from(["trace", "private", "public"])
contents = st.sampled_from([b"", b"\xff", content("x", 500), content("y", LARGE)])
given_ids = st.none() | st.sampled_from(["art_one", "art_two"])
positions = st.integers(0, 40)


class ServiceAndDict(RuleBasedStateMachine):
    """Saves, loads, lists, deletes, collects and opens again, as three agents."""

    database_url: str | None = None

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="mindgraph")
        self.data_dir = Path(self.folder.name) / "data"
        self.entries: dict[str, Entry] = {}
        self.participants: set[tuple[str, str]] = set()

    @initialize()
    def open(self) -> None:
        self.storage = open_storage(self.data_dir, database_url=self.database_url)

    def teardown(self) -> None:
        if hasattr(self, "storage"):
            must_be_sound_but_for_gaps(self)
            self.storage.close()
        self.folder.cleanup()

    # ---------------------------------------------------------------- the model

    def as_agent(self, agent: str) -> StorageClient:
        return self.storage if agent == OPERATOR else self.storage.as_agent(agent)

    def readable(self, entry: Entry, agent: str, from_within: str | None = None) -> bool:
        takes_part = (entry.trace_id, agent) in self.participants or from_within == entry.trace_id
        open_to = {"public": True, "private": False, "trace": takes_part}[entry.visibility]
        return agent in (OPERATOR, entry.owner) or open_to

    def chain(self, trace_id: str, name: str) -> list[Entry]:
        mine = [one for one in self.entries.values() if (one.trace_id, one.name) == (trace_id, name)]
        return sorted(mine, key=lambda one: one.version)

    def pick(self, position: int) -> Entry:
        return list(self.entries.values())[position % len(self.entries)]

    def refusal(self, entry: Entry, agent: str) -> type[StorageError] | None:
        if not self.readable(entry, agent):
            return PermissionDenied
        return NotFound if entry.deleted else None

    # ---------------------------------------------------------------- what is done

    @rule(
        agent=agents,
        trace_id=traces,
        name=names,
        data=contents,
        visibility=visibilities,
        artifact_id=given_ids,
    )
    def save(
        self,
        agent: str,
        trace_id: str,
        name: str,
        data: bytes,
        visibility: Visibility,
        artifact_id: str | None,
    ) -> None:
        def saving() -> Any:
            return self.as_agent(agent).save_artifact(
                data, trace_id=trace_id, name=name, visibility=visibility, artifact_id=artifact_id
            )

        if artifact_id is not None and (known := self.entries.get(artifact_id)) is not None:
            same = self.readable(known, agent, trace_id) and known.data == data
            if same and not known.deleted:
                assert saving()["version"] == known.version
            else:
                with pytest.raises(NotFound if same else AlreadyExists):
                    saving()
            return
        chain = self.chain(trace_id, name)
        latest = next((one for one in reversed(chain) if not one.deleted), None)
        ref = saving()
        if agent != OPERATOR:
            self.participants.add((trace_id, agent))
        unchanged = (
            artifact_id is None
            and latest is not None
            and (latest.data, latest.visibility) == (data, visibility)
            and self.readable(latest, agent, trace_id)
        )
        if unchanged and latest is not None:
            assert (ref["artifact_id"], ref["version"]) == (latest.id, latest.version)
            return
        assert ref["artifact_id"] == (artifact_id or ref["artifact_id"])
        assert ref["artifact_id"] not in self.entries
        assert ref["version"] == len(chain) + 1
        supersedes = latest.id if latest else None
        self.entries[ref["artifact_id"]] = Entry(
            ref["artifact_id"], trace_id, name, len(chain) + 1, supersedes, agent, visibility, data
        )

    @precondition(lambda self: self.entries)
    @rule(agent=agents, position=positions)
    def load(self, agent: str, position: int) -> None:
        entry, client = self.pick(position), self.as_agent(agent)
        if (refused := self.refusal(entry, agent)) is not None:
            for read in (client.load_artifact, client.get_artifact, client.open_artifact):
                with pytest.raises(refused):
                    read(entry.id)
        else:
            assert client.load_artifact(entry.id, as_=bytes) == entry.data
            found = client.get_artifact(entry.id)
            told = (found.version, found.supersedes, found.owner, found.visibility, found.status)
            assert told == (entry.version, entry.supersedes, entry.owner, entry.visibility, "completed")

    @rule(agent=agents, trace_id=traces)
    def list(self, agent: str, trace_id: str) -> None:
        found = [one.id for one in self.as_agent(agent).list_artifacts(trace_id=trace_id)]
        mine = [one for one in self.entries.values() if one.trace_id == trace_id and not one.deleted]
        assert found == [one.id for one in mine if self.readable(one, agent)]

    @rule(agent=agents, trace_id=traces, name=names)
    def latest(self, agent: str, trace_id: str, name: str) -> None:
        """The newest version that the one who asks may read."""
        found = self.as_agent(agent).list_artifacts(trace_id=trace_id, name=name, latest=True)
        mine = [one for one in self.chain(trace_id, name) if not one.deleted and self.readable(one, agent)]
        assert [one.id for one in found] == [one.id for one in mine[-1:]]

    @precondition(lambda self: self.entries)
    @rule(agent=agents, position=positions)
    def delete(self, agent: str, position: int) -> None:
        entry = self.pick(position)
        if agent == OPERATOR:
            self.storage.delete_artifact(entry.id)
            entry.deleted = True
        else:
            with pytest.raises(PermissionDenied):
                self.as_agent(agent).delete_artifact(entry.id)

    @rule()
    def open_again(self) -> None:
        self.storage.close()
        self.open()

    @rule(dry_run=st.booleans())
    def collect(self, dry_run: bool) -> None:
        with pytest.MonkeyPatch.context() as patch:
            at_a_later_time(patch, hours=25)
            report = self.storage.collect(dry_run=dry_run)
        buried = [one for one in self.entries.values() if one.deleted and one.has_bytes]
        assert sorted(str(one.artifact_id) for one in report.findings) == sorted(one.id for one in buried)
        if not dry_run:
            for entry in buried:
                entry.has_bytes = False

    @invariant()
    def files_are_those_of_the_model(self) -> None:
        """As many files as artifacts that have their bytes, and no upload is left."""
        files = [path for path in self.data_dir.glob("artifacts/*/*") if path.is_file()]
        assert len(files) == sum(one.has_bytes for one in self.entries.values())
        assert list(self.data_dir.glob("temp/*")) == []


def must_be_sound_but_for_gaps(machine: ServiceAndDict) -> None:
    """Every artifact that is not deleted loads, and verification finds no flaw."""
    for entry in machine.entries.values():
        if not entry.deleted:
            assert machine.storage.load_artifact(entry.id, as_=bytes) == entry.data
    assert [one for one in machine.storage.verify().findings if one.artifact_id] == []
    if not any(entry.deleted for entry in machine.entries.values()):
        must_be_sound(machine.storage, machine.data_dir, {})


class PostgresAndDict(ServiceAndDict):
    """The same, with the rows in PostgreSQL; each example has a database of its own."""

    server: PostgresServer

    @initialize()
    def open(self) -> None:
        self.database_url = self.database_url or self.server.new_database()
        super().open()

    def teardown(self) -> None:
        super().teardown()
        if self.database_url is not None:
            self.server.drop(self.database_url)


for machine in (ServiceAndDict, PostgresAndDict):
    machine.TestCase.settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


class TestServiceAndDict(ServiceAndDict.TestCase):  # type: ignore[misc, valid-type]  # made by Hypothesis at run time
    """Saves, loads, lists, deletions, collections and restarts agree with the dict in any order."""


class TestPostgresAndDict(PostgresAndDict.TestCase):  # type: ignore[misc, valid-type]  # as above
    """So they do with the rows in PostgreSQL."""

    @pytest.fixture(autouse=True)
    def _server(self, postgres_server: PostgresServer) -> None:
        PostgresAndDict.server = postgres_server
