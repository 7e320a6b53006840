"""What of a state is stored, where, how often, and who may read it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from mindgraph_storage import (
    ArtifactManifest,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    StorageClient,
)
from mindgraph_storage.langgraph import with_storage
from mindgraph_storage.langgraph.offload import offloading
from mindgraph_storage.langgraph.state_values import Pointer
from mindgraph_storage.requests import CHECKPOINT_VALUE

from .ways import Graph, Saver, on_thread

BIG = "otter é " * 1000
OpenStorage = Callable[..., StorageClient]


class State(TypedDict, total=False):
    doc: Any
    steps: int


def counting(saver: Any, most: int = 5) -> Graph:
    """Carries the document through that many steps."""
    builder = StateGraph(State).add_edge(START, "count")
    builder.add_node("count", lambda state: {"steps": state.get("steps", 0) + 1})
    builder.add_conditional_edges("count", lambda state: "count" if state["steps"] < most else "__end__")
    return builder.compile(checkpointer=saver)


def stored(storage: StorageClient, **filters: Any) -> list[ArtifactManifest]:
    return storage.list_artifacts(artifact_type=CHECKPOINT_VALUE, **filters)


def kept(saver: Saver, thread_id: str = "t") -> list[Any]:
    """What the checkpoints themselves keep of the document, oldest first."""
    found = [each.checkpoint["channel_values"] for each in saver.list(on_thread(thread_id))]
    return [values["doc"] for values in reversed(found) if "doc" in values]


def test_a_value_is_stored_once(storage: StorageClient, saver: Saver) -> None:
    """A document that does not change is one file; every checkpoint keeps the same small pointer."""
    with_storage(counting(saver), storage, offload_over="1KB").invoke({"doc": BIG}, on_thread("t"))

    assert len(set(map(repr, kept(saver)))) == 1
    assert len(kept(saver)) == 6
    assert Pointer.of(kept(saver)[0]) is not None
    by_size = sorted(manifest.size_bytes for manifest in stored(storage))
    assert len(by_size) == 2  # the document, and the input that holds it
    assert len(BIG.encode()) < by_size[0] < by_size[1] < len(BIG.encode()) + 100


def test_an_unchanged_value_is_not_encoded_again(storage: StorageClient) -> None:
    """What the checkpoint before has in the same version is neither encoded nor stored."""

    class Counting(JsonPlusSerializer):
        encoded = 0

        def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
            self.encoded += obj == BIG
            return super().dumps_typed(obj)

    serde = Counting()
    graph = with_storage(counting(InMemorySaver(serde=serde)), storage, offload_over="1KB")
    graph.invoke({"doc": BIG}, on_thread("t"))
    after_a_run = serde.encoded
    graph.invoke({"steps": 0}, on_thread("t"))

    assert after_a_run == 2  # the write, and the channel
    assert serde.encoded == after_a_run


def test_listings_are_clean(storage: StorageClient, saver: Saver) -> None:
    """Values are no artifacts that an agent made: listings leave them out but for their own type."""
    with_storage(counting(saver), storage, offload_over=0).invoke({"doc": BIG}, on_thread("t"))
    made = storage.save_artifact("made", name="made", trace_id="t")

    assert [manifest.id for manifest in storage.list_artifacts()] == [made["artifact_id"]]
    assert [m.name for m in storage.list_artifacts(trace_id="t", latest=True)] == ["made"]
    values = stored(storage, thread_id="t")
    assert {manifest.trace_id for manifest in values} == {"t"}
    assert {manifest.version for manifest in values} == {1}
    assert storage.verify().findings == []


def test_the_type_is_reserved(storage: StorageClient) -> None:
    """Nobody saves an artifact of this type: it would be collected."""
    with pytest.raises(InvalidArgument, match="reserved for values out of checkpoints"):
        storage.save_artifact("mine", artifact_type=CHECKPOINT_VALUE, trace_id="t")
    assert storage.collect(dry_run=True).findings == []


@pytest.mark.parametrize("over", [None, "1KB"])
def test_a_dict_that_looks_like_a_pointer(storage: StorageClient, saver: Saver, over: str | None) -> None:
    """What a user made to look like one comes back as it was, though it points to a stored value."""
    graph = with_storage(counting(saver), storage, offload_over="1KB")
    graph.invoke({"doc": BIG}, on_thread("t"))
    forged = kept(saver)[0]
    again = with_storage(counting(saver), storage, offload_over=over)
    again.invoke({"doc": forged}, on_thread("u"))

    assert again.get_state(on_thread("u")).values["doc"] == forged
    assert {repr(each.values.get("doc")) for each in again.get_state_history(on_thread("u"))} >= {
        repr(forged)
    }
    assert kept(saver, "u")[0] != forged


@pytest.mark.parametrize(
    "value", [{"mindgraph:value": "x"}, {"mindgraph:value": 1, "trace_id": "", "holder": "", "kind": ""}]
)
def test_a_dict_that_is_none(storage: StorageClient, saver: Saver, value: Any) -> None:
    """What only begins to look like a pointer stays where it is."""
    graph = with_storage(counting(saver), storage, offload_over="1KB")
    graph.invoke({"doc": value}, on_thread("t"))
    assert kept(saver)[0] == graph.get_state(on_thread("t")).values["doc"] == value


def test_what_cannot_be_serialized(storage: StorageClient) -> None:
    """Such a value fails with the error that it has without."""

    def error_of(graph: Graph) -> str:
        with pytest.raises(TypeError) as raised:
            graph.invoke({"doc": [BIG, object()]}, on_thread("t"))
        return repr(raised.value)

    plain = error_of(counting(InMemorySaver()))
    wrapped = error_of(with_storage(counting(InMemorySaver()), storage, offload_over="1KB"))
    assert "not msgpack serializable" in plain
    assert wrapped == plain


def test_nothing_is_pickled(storage: StorageClient) -> None:
    """What a saver of one's own would pickle stays with that saver."""
    saver = InMemorySaver(serde=JsonPlusSerializer(pickle_fallback=True))
    graph = with_storage(counting(saver), storage, offload_over=0)
    graph.invoke({"doc": [BIG, complex(1, 2)]}, on_thread("t"))

    assert graph.get_state(on_thread("t")).values["doc"] == [BIG, complex(1, 2)]
    assert kept(saver)[0] == [BIG, complex(1, 2)]


class Shifting:
    """A cipher of a kind."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return "shifted", bytes((byte + 1) % 256 for byte in plaintext)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        return bytes((byte - 1) % 256 for byte in ciphertext)


def test_an_encrypting_serializer(storage: StorageClient) -> None:
    """What a saver encrypts is stored encrypted."""
    saver = InMemorySaver(serde=EncryptedSerializer(Shifting()))
    graph = with_storage(counting(saver), storage, offload_over="1KB")
    graph.invoke({"doc": BIG}, on_thread("t"))

    assert graph.get_state(on_thread("t")).values["doc"] == BIG
    assert all(b"otter" not in storage.load_artifact(value) for value in stored(storage))


def test_who_may_read_a_value(open_again: OpenStorage, saver: Saver) -> None:
    """Whoever reads the thread through the saver; an agent that takes no part is refused."""
    graph = with_storage(counting(saver), open_again("agent.a"), offload_over="1KB")
    graph.invoke({"doc": BIG}, on_thread("t"))

    other = open_again("agent.b")
    assert with_storage(counting(saver), other).get_state(on_thread("t")).values["doc"] == BIG
    assert stored(other) == []
    with pytest.raises(PermissionDenied):
        other.load_artifact(stored(open_again())[0])


def test_inside_a_step(storage: StorageClient, saver: Saver) -> None:
    """A graph run in a step, on a thread and in a process of its own, keeps its values in that process."""
    child = with_storage(counting(saver), storage, offload_over="1KB")
    configurable = on_thread("inner", trace_id="its-own", agent_id="agent.inner")

    def call(state: State) -> dict[str, Any]:
        return {"steps": child.invoke({"doc": BIG}, configurable)["steps"]}

    builder = StateGraph(State).add_node("call", call).add_edge(START, "call")
    with_storage(builder.compile(checkpointer=saver), storage).invoke({}, on_thread("outer"))

    assert {value.trace_id for value in stored(storage)} == {"its-own"}
    assert all(step.saved == step.loaded == [] for step in storage.list_steps("outer"))
    assert child.get_state(configurable).values["doc"] == BIG


def test_a_thread_of_another_saver(open_again: OpenStorage) -> None:
    """Two savers may each have a thread of one name: both find their values."""
    storage, savers = open_again(), [InMemorySaver(), InMemorySaver()]
    graphs = [with_storage(counting(saver), storage, offload_over="1KB") for saver in savers]
    for graph in graphs:
        graph.invoke({"doc": BIG}, on_thread("t"))

    assert len(stored(storage)) == 2  # the same bytes of a thread are stored once
    savers[0].delete_thread("t")  # past the graph: nothing is let go
    assert [f.reason for f in storage.collect().findings] == []
    assert graphs[1].get_state(on_thread("t")).values["doc"] == BIG


def test_turned_off_later(storage: StorageClient, saver: Saver) -> None:
    """A thread whose values are stored goes on without the option, and the other way round."""
    with_storage(counting(saver), storage, offload_over="1KB").invoke({"doc": BIG}, on_thread("t"))
    without = with_storage(counting(saver), storage)
    assert without.invoke({"steps": 0}, on_thread("t"))["doc"] == BIG
    assert without.get_state(on_thread("t")).values["doc"] == BIG

    without.invoke({"doc": BIG * 2}, on_thread("t"))
    with_it = with_storage(counting(saver), storage, offload_over="1KB")
    assert with_it.invoke({"steps": 0}, on_thread("t"))["doc"] == BIG * 2
    assert BIG * 2 in kept(saver)
    assert Pointer.of(kept(saver)[-1]) is not None


class Inline(InMemorySaver):
    """Keeps text in every checkpoint and other values by their version, as LangGraph's PostgresSaver does."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, dict[str, str]] = {}

    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        values = checkpoint["channel_values"]
        self.texts[checkpoint["id"]] = {k: v for k, v in values.items() if isinstance(v, str)}
        others = {k: v for k, v in values.items() if not isinstance(v, str)}
        written = {k: v for k, v in new_versions.items() if k in others}
        kept: Any = {**checkpoint, "channel_values": others}
        return super().put(config, kept, metadata, written)

    def get_tuple(self, config: Any) -> Any:
        if (found := super().get_tuple(config)) is None:
            return None
        values = {**found.checkpoint["channel_values"], **self.texts[found.checkpoint["id"]]}
        return found._replace(checkpoint={**found.checkpoint, "channel_values": values})


def test_turned_on_where_text_is_kept_inline(storage: StorageClient) -> None:
    """A value that is moved without having changed is written as one that has."""
    saver = Inline()
    with_storage(counting(saver), storage).invoke({"doc": BIG}, on_thread("t"))
    with_it = with_storage(counting(saver), storage, offload_over="1KB")
    assert with_it.invoke({"steps": 0}, on_thread("t"))["doc"] == BIG

    assert with_it.get_state(on_thread("t")).values["doc"] == BIG
    assert with_storage(counting(saver), storage).get_state(on_thread("t")).values["doc"] == BIG
    assert BIG not in saver.texts[saver.get_tuple(on_thread("t")).checkpoint["id"]].values()


def test_a_value_that_is_gone(storage: StorageClient, saver: Saver) -> None:
    """A state is never shown with something missing: the error says what is gone."""
    graph = with_storage(counting(saver), storage, offload_over="1KB")
    graph.invoke({"doc": BIG}, on_thread("t"))
    for value in stored(storage):
        storage.delete_artifact(value)

    fresh = with_storage(counting(saver), storage)
    with pytest.raises(DataLoss, match="a value that a checkpoint points to is gone"):
        fresh.get_state(on_thread("t"))


def test_a_storage_that_is_closed(open_again: OpenStorage, saver: Saver) -> None:
    """What cannot be stored fails the put with the storage's own error, and no checkpoint points to it."""
    storage = open_again()
    proxy: Any = offloading(saver, storage, "1KB")
    storage.close()
    checkpoint: dict[str, Any] = {**empty_checkpoint()}
    checkpoint |= {"channel_values": {"doc": BIG}, "channel_versions": {"doc": 1}}
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    with pytest.raises(FailedPrecondition, match="closed"):
        proxy.put(config, checkpoint, {}, {"doc": 1})
    assert saver.get_tuple(config) is None


def test_many_threads_at_once(storage: StorageClient, saver: Saver) -> None:
    """Threads that run at once store the same document each for itself, and mix nothing up."""
    graph = with_storage(counting(saver), storage, offload_over="1KB")
    runs = [
        threading.Thread(target=graph.invoke, args=({"doc": f"{n}{BIG}"}, on_thread(str(n))))
        for n in range(4)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    fresh = with_storage(counting(saver), storage)
    assert [fresh.get_state(on_thread(str(n))).values["doc"] for n in range(4)] == [
        f"{n}{BIG}" for n in range(4)
    ]
