"""The error tree: complete, retried by a graph exactly where that helps, whole across processes."""

from __future__ import annotations

import copy
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
from langgraph.types import RetryPolicy

import mindgraph_storage
from mindgraph_storage import Internal, NotFound, StorageError
from mindgraph_storage.errors import error_for

CODES = {
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "DEADLINE_EXCEEDED",
    "UNAVAILABLE",
    "DATA_LOSS",
    "INTERNAL",
}
"""SPEC section 3, names of google.rpc.Code."""
CLASSES = StorageError.__subclasses__()


def test_every_code_has_one_class() -> None:
    """The classes' codes are SPEC's list, each once."""
    assert sorted(kind.code for kind in CLASSES) == sorted(CODES)


def test_every_class_is_public() -> None:
    """Each error can be imported from the package, under the name its code has in CamelCase."""
    for kind in CLASSES:
        assert kind.__name__ == "".join(word.capitalize() for word in kind.code.split("_"))
        assert getattr(mindgraph_storage, kind.__name__) is kind
        assert kind.__name__ in mindgraph_storage.__all__


@pytest.mark.parametrize("kind", CLASSES)
def test_a_code_gives_its_class_back(kind: type[StorageError]) -> None:
    """The table from code to class is complete and keeps message and details."""
    error = error_for(kind.code, "what to do", {"artifact_id": "art_x"})
    assert type(error) is kind
    assert (error.message, error.details) == ("what to do", {"artifact_id": "art_x"})
    assert error_for(kind.code, "no details").details == {}


def test_an_unknown_code_is_internal() -> None:
    """A newer service's code we do not know is an Internal with its message, not a crash."""
    error = error_for("CANCELLED", "it was stopped", {"a": 1})
    assert type(error) is Internal
    assert (error.message, error.details) == ("it was stopped", {"a": 1})


@pytest.mark.parametrize("kind", CLASSES)
def test_a_graph_retries_what_is_retryable(kind: type[StorageError]) -> None:
    """LangGraph's default retry policy agrees with ``retryable``."""
    retry_on = RetryPolicy().retry_on
    assert callable(retry_on)
    assert retry_on(kind("x")) == kind.retryable


def test_only_what_may_pass_is_retryable() -> None:
    """Unavailable and DeadlineExceeded are retryable, everything else is not."""
    assert {kind.code for kind in CLASSES if kind.retryable} == {"UNAVAILABLE", "DEADLINE_EXCEEDED"}


@pytest.mark.parametrize("kind", [StorageError, *CLASSES])
def test_the_docstring_is_the_default_message(kind: type[StorageError]) -> None:
    """An error raised with nothing to say tells its class's first words."""
    assert kind.__doc__
    assert kind().message == str(kind()) == kind.__doc__.strip()
    assert str(kind("something else")) == "something else"


def _raise(code: str) -> None:
    """What another process does."""
    raise error_for(code, "told", {"ids": ["art_x"], "n": 1})


def test_errors_cross_processes() -> None:
    """Raised in another process, each arrives as its class with message and details."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for kind in CLASSES:
            error = pool.submit(_raise, kind.code).exception(60)
            assert type(error) is kind
            assert (error.message, error.details) == ("told", {"ids": ["art_x"], "n": 1})


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_can_be_copied(kind: type[StorageError]) -> None:
    """A copy is the same class with equal message and details."""
    error = kind("told", artifact_id="art_x")
    for twin in (copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is kind
        assert (twin.message, twin.details, twin.args) == (error.message, error.details, error.args)


def test_details_may_have_any_name() -> None:
    """A detail may be called like the error's own parameter."""
    assert NotFound("told", message="m", code="c").details == {"message": "m", "code": "c"}
