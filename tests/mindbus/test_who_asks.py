"""Who a command is from, and what that gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mindgraph_storage import PermissionDenied, StorageClient, Unauthenticated
from tests.mindbus.bare import Bare, command
from tests.mindbus.services import Service, Services
from tests.mindbus.test_protocol import registration
from tests.servers import RabbitMQ

OpenClient = Callable[..., StorageClient]


async def test_the_brokers_word_counts(client: Bare, data_dir: Path) -> None:
    """With ``user_id`` the requester is that user; a command that names another one is refused."""
    asked = command("register_artifact", registration(data_dir), requester_trace_id="trace_xyz")
    assert (await client.data(asked, user_id="operator"))["status"] == "SUCCESS"
    claimed = command("get_artifact", {"artifact_id": "art_research_001"}, requester_id="agent.spy")
    error = (await client.data(claimed, user_id="operator"))["error"]
    assert error["code"] == "PERMISSION_DENIED"
    assert error["details"] == {"requester_id": "agent.spy"}
    told = command("get_artifact", {"artifact_id": "art_research_001"}, requester_id="agent.spy")
    assert (await client.data(told))["error"]["code"] == "PERMISSION_DENIED"  # takes no part


def test_operators_are_listed(services: Services, data_dir: Path, open_client: OpenClient) -> None:
    """Whoever the service lists has the operator's right, and nobody else."""
    with services.running(data_dir, operators=["agent.admin", "agent.other"]):
        anybody, admin = open_client(), open_client(agent_id="agent.admin")
        ref = anybody.save_artifact("x", trace_id="t", visibility="private")
        for client in (anybody, open_client(agent_id="agent.a")):
            for call in (client.verify, lambda client=client: client.delete_artifact(ref)):
                with pytest.raises(PermissionDenied, match="operator"):
                    call()
        assert admin.verify().findings == []
        admin.delete_artifact(ref)


def test_nobody_is_the_operator_by_default(
    services: Services, data_dir: Path, open_client: OpenClient
) -> None:
    """A storage opened for no agent works, as anybody; what a local operator kept private stays private."""
    with services.running(data_dir):
        kept = open_client().save_artifact("secret", trace_id="t", name="kept", visibility="private")
    with services.running(data_dir, operators=[]):
        anybody = open_client()
        ref = anybody.save_artifact("x", trace_id="u")
        assert anybody.get_artifact(ref).owner == "anybody"
        assert anybody.load_artifact(ref) == "x"
        with pytest.raises(PermissionDenied):
            anybody.load_artifact(kept)
        with pytest.raises(PermissionDenied):
            anybody.collect()


def test_a_user_the_broker_knows(
    broker: RabbitMQ, services: Services, data_dir: Path, open_client: OpenClient
) -> None:
    """Who logs in under the agent's own name is vouched for; wrong passwords and closed hosts say so."""
    broker.control("add_user", "agent.a", "pa/ss")
    broker.control("set_permissions", "agent.a", ".*", ".*", ".*")
    url = f"amqp://agent.a:pa%2Fss@127.0.0.1:{broker.port}"
    with services.running(data_dir):
        client = open_client(service_url=f"{url}/", agent_id="agent.a")
        assert client.get_artifact(client.save_artifact("x", trace_id="t")).owner == "agent.a"
        with pytest.raises(Unauthenticated) as refused:
            open_client(service_url=url.replace("%2Fss", "%2Fwrong")).list_artifacts()
        assert "wrong" not in refused.value.message
        with pytest.raises(PermissionDenied, match="virtual host"):
            open_client(service_url=f"{url}/nowhere").list_artifacts()


def test_anybody_may_say_who_they_are(service: Service, open_client: OpenClient) -> None:
    """Without ``user_id`` the command's word counts, as in one process."""
    client = open_client(agent_id="agent.a")
    ref = client.save_artifact("x", trace_id="t", visibility="private")
    assert client.as_agent("agent.a").load_artifact(ref) == "x"
    with pytest.raises(PermissionDenied):
        client.as_agent("agent.b").load_artifact(ref)
