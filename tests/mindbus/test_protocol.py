"""SPEC section 4 as a bare AMQP client sees it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage
from aiormq.exceptions import ChannelPreconditionFailed
from cloudevents.core.bindings.rabbitmq import RabbitMQMessage, from_structured_event
from langgraph.graph import START, StateGraph
from pamqp.common import FieldTable

from mindgraph_storage import ArtifactRef, StorageClient
from mindgraph_storage.assembly import _open_service
from mindgraph_storage.langgraph import with_storage
from mindgraph_storage.service.amqp import MindBusNode
from mindgraph_storage.settings import read_settings
from tests.mindbus.bare import TYPE, Bare, Event, bare, command
from tests.mindbus.locked import write_lock
from tests.mindbus.services import Service, Services
from tests.servers import RabbitMQ

OpenClient = Callable[..., StorageClient]
EXAMPLE = """
{"specversion":"1.0","type":"ai.team.command","source":"agent.writer.001","id":"cmd-7",
 "time":"2025-12-19T10:00:00Z","subject":"task-555",
 "data":{"action":"get_artifact","target_node":"storage-primary",
         "params":{"artifact_id":"art_research_001"},
         "context":{"requester_id":"agent.writer.001","requester_trace_id":"trace_xyz"}}}
"""
"""SPEC section 4, as written."""


def registration(data_dir: Path, content: bytes = b"{}", artifact_id: str = "art_research_001") -> Event:
    """Parameters of register_artifact for bytes that were put into ``temp/``."""
    upload_id = f"up_{uuid.uuid4().hex}"
    (data_dir / "temp" / upload_id).write_bytes(content)
    return {
        "artifact_id": artifact_id,
        "upload_id": upload_id,
        "trace_id": "trace_xyz",
        "name": artifact_id,
        "artifact_type": "research_report",
        "content_type": "application/json",
        "size_bytes": len(content),
        "checksum": f"sha256:{hashlib.sha256(content).hexdigest()}",
    }


def _event(message: AbstractIncomingMessage) -> Event:
    """The event, checked by the CloudEvents SDK's RabbitMQ binding."""
    read = from_structured_event(RabbitMQMessage({}, message.content_type, message.body))
    event: Event = json.loads(message.body)
    assert read.get_id() == event["id"] == message.message_id
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    return event


async def test_the_documents_examples(client: Bare, data_dir: Path) -> None:
    """Registering, the same again, and reading get the documented answers, key by key."""
    asked = command("register_artifact", registration(data_dir), requester_trace_id="trace_xyz")
    first = await client.data(asked)
    assert set(first) == {"status", "output", "execution_time_ms", "metrics"}
    assert (first["status"], first["output"]["registered"]) == ("SUCCESS", True)
    assert first["output"]["artifact_id"] == "art_research_001"
    assert Path(first["output"]["uri"].removeprefix("file://")).read_bytes() == b"{}"
    again = (await client.data(asked))["output"]
    assert (again["registered"], again["already_exists"]) == (False, True)
    assert again["uri"] == first["output"]["uri"]
    event = _event(await client.ask(EXAMPLE.encode()))
    assert (event["type"], event["subject"], event["source"]) == (
        "ai.team.result",
        "task-555",
        "storage-primary",
    )
    assert event["data"]["status"] == "SUCCESS"
    assert isinstance(event["data"]["execution_time_ms"], int)
    assert event["data"]["output"]["manifest"]["id"] == "art_research_001"


async def test_an_error_is_an_answer(client: Bare) -> None:
    """What cannot be done is an ERROR event with code, message, retryable and details."""
    event = _event(await client.ask(EXAMPLE.encode()))
    assert event["type"] == "ai.team.error"
    assert event["data"]["error"]["code"] == "NOT_FOUND"
    assert set(event["data"]["error"]) == {"code", "message", "retryable", "details"}


@pytest.mark.parametrize("key", ["cmd.storage.any", "cmd.storage.storage-primary"])
async def test_both_keys_are_served(client: Bare, key: str) -> None:
    """Commands to any node and to this node are answered."""
    assert (await client.data(command("list_processes", {}), key=key))["status"] == "SUCCESS"


async def test_a_node_is_addressed_by_its_key(client: Bare, services: Services, data_dir: Path) -> None:
    """Of two services that share a queue and a storage, the one that is named answers."""
    with services.running(data_dir, node="other"):
        for node in ("other", "storage-primary") * 5:
            answer = await client.ask(command("list_processes", {}), key=f"cmd.storage.{node}")
            assert answer.app_id == _event(answer)["source"] == node


async def test_the_topology(client: Bare) -> None:
    """A durable topic exchange, and durable queues with 256 priorities: declaring them so is no conflict."""
    await client.channel.declare_exchange("mindbus.main", aio_pika.ExchangeType.TOPIC, durable=True)
    for node in ("any", "storage-primary"):
        arguments: FieldTable = {"x-max-priority": 255}
        await client.channel.declare_queue(f"cmd.storage.{node}", durable=True, arguments=arguments)
    with pytest.raises(ChannelPreconditionFailed):
        await client.channel.declare_queue("cmd.storage.any", durable=True)


async def test_answers_to_direct_reply_to(broker: RabbitMQ, service: Service) -> None:
    """``reply_to`` may be RabbitMQ's direct one."""
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel()
        direct = await channel.get_queue("amq.rabbitmq.reply-to", ensure=False)
        answers: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        await direct.consume(answers.put, no_ack=True)
        client = Bare(channel, direct)
        asked = command("list_processes", {})
        await client.send(asked, correlation_id="c-1", reply_to="amq.rabbitmq.reply-to")
        answer = await asyncio.wait_for(answers.get(), 20)
        assert (answer.correlation_id, _event(answer)["data"]["status"]) == ("c-1", "SUCCESS")


async def test_without_a_correlation_id_the_message_id_answers(client: Bare) -> None:
    """The answer's ``correlation_id`` is the command's, else its ``message_id``: the property counts."""
    asked = command("list_processes", {})
    await client.send(asked, message_id="m-1", reply_to=client.answers.name)
    assert (await client.next(client.answers)).correlation_id == "m-1"


async def test_a_command_nobody_waits_for(client: Bare, data_dir: Path) -> None:
    """Without ``reply_to`` a command is carried out all the same."""
    listening = await client.listen("evt.artifact.registered")
    await client.send(command("register_artifact", registration(data_dir), requester_trace_id="trace_xyz"))
    assert _event(await client.next(listening))["data"]["artifact_id"] == "art_research_001"
    for gone in ("amq.rabbitmq.reply-to.nobody", "no-such-queue", "x" * 255):
        await client.send(command("list_processes", {}), reply_to=gone)
    assert (await client.data(command("list_processes", {})))["status"] == "SUCCESS"


async def test_events_follow_the_commit(client: Bare, data_dir: Path) -> None:
    """Registered, deleted, started and finished are told once each, by id, with the trace context."""
    listening = await client.listen("evt.#")
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    run = {"run_id": "run-1", "trace_id": "trace_xyz"}
    for action, params in (
        ("register_artifact", registration(data_dir)),
        ("delete_artifact", {"artifact_id": "art_research_001"}),
        ("start_run", run),
        ("finish_run", {"run_id": "run-1", "status": "completed"}),
    ):
        asked = {**command(action, params, requester_trace_id="trace_xyz"), "traceparent": traceparent}
        answer = _event(await client.ask(asked))
        assert (answer["data"]["status"], answer["traceparent"]) == ("SUCCESS", traceparent)
    told = [await client.next(listening) for _ in range(4)]
    assert [message.routing_key for message in told] == [
        "evt.artifact.registered",
        "evt.artifact.deleted",
        "evt.process.started",
        "evt.process.finished",
    ]
    for message in told:
        event = _event(message)
        assert (event["type"], event["traceparent"]) == ("ai.team.event", traceparent)
        assert 0 <= (message.priority or 0) <= 10
    assert json.loads(told[0].body)["data"] == {
        "event": "artifact.registered",
        "artifact_id": "art_research_001",
        "trace_id": "trace_xyz",
        "version": 1,
    }


class _State(TypedDict, total=False):
    draft: ArtifactRef


async def test_a_graph_runs_over_the_bus(client: Bare, open_client: OpenClient) -> None:
    """A recorded graph's run is told when it starts and ends, and what it saved is linked to its step."""
    listening, storage = await client.listen("evt.process.*"), open_client()

    def write(state: _State) -> _State:
        return {"draft": storage.save_artifact("text", artifact_type="draft")}

    builder = StateGraph(_State).add_node(write).add_edge(START, "write")
    graph = with_storage(builder.compile(), storage)
    state = await graph.ainvoke({}, {"configurable": {"trace_id": "t"}})
    told = [_event(await client.next(listening))["data"] for _ in range(2)]
    assert [each["event"] for each in told] == ["process.started", "process.finished"]
    assert told[0]["run_id"] == told[1]["run_id"] == storage.list_runs("t")[0].run_id
    (step,) = storage.list_steps("t")
    assert (step.status, step.saved) == ("completed", [state["draft"]["artifact_id"]])


async def test_what_a_client_sends(client: Bare, open_client: OpenClient) -> None:
    """Commands are persistent, of priority 20, expire with their time limit, and say who sends them."""
    listening = await client.listen("cmd.storage.any")
    assert await open_client(timeout_seconds=7).alist_processes() == []
    sent = await client.next(listening)
    event = _event(sent)
    assert (sent.content_type, sent.priority, sent.expiration, sent.user_id) == (TYPE, 20, 7, "operator")
    assert (sent.type, sent.reply_to is not None) == ("ai.team.command", True)
    assert event["data"]["context"]["requester_id"] == event["source"] == "operator"


async def test_passport_and_heartbeat(broker: RabbitMQ, services: Services, data_dir: Path) -> None:
    """A node announces itself with its passport when it starts, and its heart beats."""
    async with bare(broker.url) as client:
        await client.channel.declare_exchange("mindbus.main", "topic", durable=True)
        listening = await client.listen("evt.registry.*")
        with services.running(data_dir, node="node-7", heartbeat_seconds=0.1):
            told = [await client.next(listening) for _ in range(3)]
    keys = [message.routing_key for message in told]
    assert keys == ["evt.registry.node_registered", *["evt.registry.node_heartbeat"] * 2]
    passport = _event(told[0])["data"]
    assert passport["metadata"]["uid"]
    assert passport["metadata"]["labels"] == {}
    assert (passport["metadata"]["name"], passport["metadata"]["nodeType"]) == ("node-7", "storage")
    assert passport["spec"]["capabilities"] == ["file_storage", "artifact_storage"]
    assert {_event(beat)["data"]["metadata"]["uid"] for beat in told[1:]} == {passport["metadata"]["uid"]}


async def test_commands_that_waited_come_by_priority(
    broker: RabbitMQ, services: Services, data_dir: Path
) -> None:
    """With one worker, of what waits in the queue the highest priority is answered first."""
    services.start(data_dir).stop()  # the queues are there now, and nobody takes from them
    async with bare(broker.url) as client:
        for priority in (5, 255, 20, 100):
            await client.send(
                command("list_processes", {}),
                priority=priority,
                correlation_id=str(priority),
                reply_to=client.answers.name,
            )
        with services.running(data_dir, workers=1):
            order = [(await client.next(client.answers)).correlation_id for _ in range(4)]
    assert order == ["255", "100", "20", "5"]


async def test_no_more_is_taken_than_there_are_workers(
    broker: RabbitMQ, services: Services, data_dir: Path
) -> None:
    """While the only worker is busy what comes waits in the queue, where what is urgent overtakes it."""
    order = []
    with services.running(data_dir, workers=1):
        async with bare(broker.url) as client:
            queue = await client.channel.get_queue("cmd.storage.any")
            with write_lock(data_dir) as release:
                await client.send(
                    command("start_run", {"run_id": "r", "trace_id": "trace_xyz"}),
                    correlation_id="busy",
                    reply_to=client.answers.name,
                )
                async with asyncio.timeout(20):
                    while (await queue.declare()).message_count:  # until the worker has it
                        pass
                for priority in (20, 20, 255):
                    await client.send(
                        command("list_processes", {}),
                        priority=priority,
                        correlation_id=str(priority),
                        reply_to=client.answers.name,
                    )
                release()
            order = [(await client.next(client.answers)).correlation_id for _ in range(4)]
    assert order == ["busy", "255", "20", "20"]


async def test_a_command_that_is_over_when_it_comes(
    broker: RabbitMQ, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is acknowledged, dropped without an answer, and logged."""
    settings = read_settings(data_dir=tmp_path)
    service, _ = _open_service(settings, [], registers=False)
    stop, ready = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(MindBusNode(service, broker.url).run(stop, ready.set))
    await asyncio.wait_for(ready.wait(), 20)
    async with bare(broker.url) as client:
        mine = {"reply_to": client.answers.name, "message_id": "over", "correlation_id": "over"}
        await client.send(command("list_processes", {}), expiration=0, **mine)
        assert (await client.ask(command("list_processes", {}), correlation_id="next")).app_id
        stop.set()
        await serving
        assert (await (await client.channel.get_queue("cmd.storage.any")).declare()).message_count == 0
        assert client.answers.declaration_result.message_count == 0
    service.close()
    assert [r.message_id for r in caplog.records if r.getMessage() == "an expired command was dropped"] == [  # type: ignore[attr-defined]
        "over"
    ]


async def test_an_expired_command_is_dropped(broker: RabbitMQ, services: Services, data_dir: Path) -> None:
    """What was not taken before its ``expiration`` is never carried out, and is no dead letter."""
    services.start(data_dir).stop()
    async with bare(broker.url) as client:
        dead = await client.channel.declare_queue("mindbus.dead", durable=True)
        await dead.purge()
        mine = {"reply_to": client.answers.name, "correlation_id": "expired"}
        await client.send(command("list_processes", {}), expiration=0.001, **mine)
        with services.running(data_dir):
            await client.data(command("list_processes", {}), correlation_id="in time")
        assert (
            await client.channel.declare_queue("mindbus.dead", passive=True)
        ).declaration_result.message_count == 0


async def test_an_unknown_action_is_no_dead_letter(client: Bare) -> None:
    """A command that can be read and not be carried out is answered, and that is all."""
    dead = await client.channel.declare_queue("mindbus.dead", durable=True)
    await dead.purge()
    error = (await client.data(command("make_coffee", {})))["error"]
    assert error["code"] == "INVALID_ARGUMENT"
    assert "make_coffee" in error["message"]
    assert (await dead.declare()).message_count == 0


@pytest.mark.parametrize(
    ("body", "properties"),
    [
        (b"", {}),
        (b"\xff\xfe", {}),
        (b"[]", {}),
        (b'{"specversion":"1.0"}', {}),
        (EXAMPLE.encode(), {"content_type": "text/plain"}),
        (EXAMPLE.encode(), {"content_encoding": "gzip"}),
    ],
)
async def test_what_cannot_be_read(client: Bare, body: bytes, properties: dict[str, Any]) -> None:
    """It is answered where it says whom to answer, and put aside as it was with the reason."""
    dead = await client.channel.declare_queue("mindbus.dead", durable=True)
    await dead.purge()
    event = _event(await client.ask(body, correlation_id="c", **properties))
    assert (event["type"], event["data"]["error"]["code"]) == ("ai.team.error", "INVALID_ARGUMENT")
    letter = await client.next(dead)
    assert (letter.body, letter.correlation_id) == (body, "c")
    assert letter.headers["x-reason"] == event["data"]["error"]["message"]
    assert letter.headers["x-routing-key"] == "cmd.storage.any"


@pytest.mark.parametrize("kind", [TYPE, "application/json", f"{TYPE}; charset=UTF-8", None])
async def test_content_types_that_will_do(client: Bare, kind: str | None) -> None:
    """CloudEvents' own, plain JSON and none at all are read."""
    assert (await client.data(command("list_processes", {}), content_type=kind))["status"] == "SUCCESS"


async def test_timeout_seconds(client: Bare) -> None:
    """A command with time left is carried out; one that has no time at all is malformed."""
    asked = command("list_processes", {})
    for seconds, answered in ((30, "SUCCESS"), (0, None), ("soon", None)):
        data = {**asked["data"], "timeout_seconds": seconds, "idempotency_key": "k", "requirements": {}}
        assert (await client.data({**asked, "data": data})).get("status") == answered
