"""What all verbs share: options that say which storage, before or after the verb; errors; exit codes."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from mindgraph_storage.errors import FailedPrecondition, Internal, NotFound, StorageError

if TYPE_CHECKING:
    from mindgraph_storage.client import StorageClient
    from mindgraph_storage.settings import Settings

__all__ = ["EXIT_CODES", "OPTIONS", "Chosen", "as_command", "console", "takes_options", "working"]

console = Console(stderr=True, highlight=False)
"""For what is said to a person; results go to stdout."""

EXIT_CODES = {
    "INVALID_ARGUMENT": 2,
    "NOT_FOUND": 3,
    "PERMISSION_DENIED": 4,
    "UNAUTHENTICATED": 4,
    "UNAVAILABLE": 5,
    "DEADLINE_EXCEEDED": 5,
}
"""By the code of the error; any other is 1."""


def _option(help_text: str) -> Any:
    return typer.Option(help=help_text, rich_help_panel="Which storage", show_default=False)


OPTIONS: Mapping[str, Any] = {
    "data_dir": Annotated[
        Path | None, _option("Where everything lives, .data unless given; or MINDGRAPH_DATA_DIR.")
    ],
    "database_url": Annotated[
        str | None, _option("The database, e.g. sqlite:///path; or MINDGRAPH_DATABASE_URL.")
    ],
    "artifacts_url": Annotated[
        str | None, _option("Where the files are, e.g. s3://bucket/prefix; or MINDGRAPH_ARTIFACTS_URL.")
    ],
    "service_url": Annotated[
        str | None, _option("The broker of a service that runs elsewhere; or MINDGRAPH_SERVICE_URL.")
    ],
    "agent_id": Annotated[
        str | None, _option("Ask as this agent, not as the operator; or MINDGRAPH_AGENT_ID.")
    ],
}
"""Which storage a verb works on: the settings of ``open_storage``, on the program and on every verb."""


_VERBOSE = inspect.Parameter(
    "verbose",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--verbose", help="Show what is logged, tracebacks too.")],
)


@dataclass(frozen=True)
class Chosen:
    """The storage that the command line names; what it leaves open is in the environment."""

    given: Mapping[str, Any]

    @classmethod
    def of(cls, context: typer.Context, here: Mapping[str, Any]) -> Chosen:
        """From the options after the verb, then those before it."""
        return cls({**(context.obj or {}), **_said(here)})

    def settings(self, **more: Any) -> Settings:
        """The settings, with these on top."""
        from mindgraph_storage.settings import read_settings

        return read_settings(**self.given, **more)

    def existing(self) -> Settings:
        """The settings of a storage that is there; raises NotFound."""
        settings = self.settings()
        _must_be_there(settings)
        return settings

    def storage(self, *, new: bool = False) -> StorageClient:
        """Opens it. Without ``new`` a storage that is not there is NotFound: a look makes none.

        What cannot be reached is told at once: a person decides when to try again.
        """
        from mindgraph_storage import open_storage

        if not new:
            self.existing()
        return open_storage(**self.given, retry_delays=[])


def as_command(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb as Typer takes it: its first parameter, a Chosen, becomes the options that choose."""
    _, *parameters = inspect.signature(verb, eval_str=True).parameters.values()

    @wraps(verb)
    def command(**given: Any) -> None:
        chosen = Chosen.of(given.pop("context"), {name: given.pop(name) for name in OPTIONS})
        with _told(given.pop("verbose")):
            verb(chosen, **given)

    return takes_options(command, [*parameters, _VERBOSE])


def takes_options(called: Callable[..., None], own: Sequence[inspect.Parameter] = ()) -> Callable[..., None]:
    """Tells Typer that the function takes a context, parameters of its own and the options that choose."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    context = inspect.Parameter("context", keyword, annotation=typer.Context)
    options = [inspect.Parameter(n, keyword, default=None, annotation=a) for n, a in OPTIONS.items()]
    taken = [context, *(parameter.replace(kind=keyword) for parameter in own), *options]
    called.__signature__ = inspect.Signature(taken)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in taken}
    return called


def working(what: str) -> AbstractContextManager[Any]:
    """Around something that takes a while: says so, to a person only."""
    return console.status(what) if sys.stderr.isatty() else nullcontext()


def _said(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _must_be_there(settings: Settings) -> None:
    """Only for SQLite's file: another database, or a service, says by itself that it is not there."""
    if settings.service_url is not None:
        return
    path = settings.data_dir / "storage.db"
    if settings.database_url is not None:
        scheme, _, rest = settings.database_url.partition(":///")
        if not scheme.startswith("sqlite"):
            return
        path = Path(rest.partition("?")[0])
    if not path.exists():
        raise NotFound(f"there is no storage here: {path} does not exist; --data-dir names another folder")


@contextmanager
def _told(verbose: bool) -> Iterator[None]:
    """Around a verb: an error is told in one line, and its code says how the command exits."""
    handler = logging.StreamHandler() if verbose else logging.NullHandler()
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler], force=True)
    try:
        yield
    except StorageError as error:
        _exit(error)
    except BrokenPipeError:
        raise  # whoever read has seen enough: Typer ends quietly
    except OSError as error:
        _exit(FailedPrecondition(f"{error.filename or 'the system'}: {error.strerror or error}"))
    except (typer.Exit, typer.Abort, typer.TyperException):
        raise
    except Exception as error:  # noqa: BLE001 - a person at a terminal is told, whatever broke
        _exit(Internal(f"{type(error).__name__}: {error}"))


def _exit(error: StorageError) -> None:
    message = escape(" ".join(error.message.split()))
    console.print(f"[red]{error.code}[/red] {message}", soft_wrap=True)
    raise typer.Exit(EXIT_CODES.get(error.code, 1)) from None
