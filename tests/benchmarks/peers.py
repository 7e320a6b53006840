"""Other libraries' file stores, where they are installed: what their users pay for a 2 KB save.

google-adk's ``FileArtifactService``, MLflow's ``log_text`` (a run on a SQLite tracking store, artifacts in a
folder) and deepagents' ``FilesystemBackend``. None of them syncs, so the fair reference is the floor without
syncs. Each writes under a new name per save; contestants are set up before they are timed.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .rounds import Turn, stopwatch

__all__ = ["peer_turns"]

Save = Callable[[Sequence[bytes]], None]
"""Saves each content once."""


def peer_turns(folder: Path, contents: Sequence[bytes], warm: int) -> tuple[list[Turn], list[str]]:
    """A turn for each library that is there, and a line for each that is not.

    A turn saves the first ``warm`` contents, then times the saving of the others.
    """
    turns, missing = list[Turn](), list[str]()
    for label, (package, module, prepare) in _PEERS.items():
        if not _is_there(module):
            missing.append(f"{label}: not installed: pip install {package}")
            continue
        try:
            save = prepare(folder / package)
        except Exception as error:  # noqa: BLE001 - their newer versions may break; ours are measured all the same
            missing.append(f"{label}: cannot be set up: {type(error).__name__}: {str(error)[:100]}")
            continue
        turns.append(_turn(label, save, contents, warm))
    return turns, missing


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package it is in
        return False


def _turn(label: str, save: Save, contents: Sequence[bytes], warm: int) -> Turn:
    def turn() -> Mapping[str, float]:
        save(contents[:warm])
        with stopwatch() as saving:
            save(contents[warm:])
        return {label: saving.seconds}

    return turn


def _google_adk(folder: Path) -> Save:
    service: Any = importlib.import_module("google.adk.artifacts").FileArtifactService(root_dir=folder)
    part: Any = importlib.import_module("google.genai.types").Part

    async def save_all(contents: Sequence[bytes]) -> None:
        for content in contents:
            await service.save_artifact(
                app_name="bench",
                user_id="user",
                session_id="session",
                filename=f"{uuid.uuid4().hex}.txt",
                artifact=part.from_bytes(data=content, mime_type="text/plain"),
            )

    return lambda contents: asyncio.run(save_all(contents))


def _mlflow(folder: Path) -> Save:
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    folder.mkdir(parents=True)
    uri = f"sqlite:///{folder}/mlflow.db"
    client: Any = importlib.import_module("mlflow").MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("bench", artifact_location=(folder / "artifacts").as_uri())
    run_id = client.create_run(experiment).info.run_id

    def save(contents: Sequence[bytes]) -> None:
        for content in contents:
            client.log_text(run_id, content.decode(), f"{uuid.uuid4().hex}.txt")

    return save


def _deepagents(folder: Path) -> Save:
    folder.mkdir(parents=True)
    backend: Any = importlib.import_module("deepagents.backends").FilesystemBackend(
        root_dir=folder, virtual_mode=True
    )

    def save(contents: Sequence[bytes]) -> None:
        for content in contents:
            if error := backend.write(f"/{uuid.uuid4().hex}.txt", content.decode()).error:
                raise OSError(error)

    return save


_PEERS: dict[str, tuple[str, str, Callable[[Path], Save]]] = {
    "google-adk FileArtifactService": ("google-adk", "google.adk.artifacts", _google_adk),
    "mlflow log_text": ("mlflow", "mlflow", _mlflow),
    "deepagents FilesystemBackend": ("deepagents", "deepagents.backends", _deepagents),
}
