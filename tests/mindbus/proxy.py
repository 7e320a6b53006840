"""A TCP proxy that breaks connections in the ways networks do."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator

__all__ = ["Proxy", "proxy"]

_ANSWER = b'"type":"ai.team.'
Change = Callable[[bytes], bytes]


class Proxy:
    """Stands before a server on 127.0.0.1; what it does may be changed while connections are open."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._changing = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self.change: Change = bytes
        """Applied to every chunk that a client sends."""
        self.cut_after: int | None = None
        """Bytes from the server after which the connection is cut, in the middle of whatever it is."""
        self._asked = Counter[str]()
        threading.Thread(target=self._accept, daemon=True).start()

    def drop(self) -> None:
        """Cuts all connections there are."""
        with self._changing:
            dropped, self._open = self._open, set()
        for one in dropped:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def stall(self) -> None:
        """Lets nothing through, and closes nothing."""
        self._flowing.clear()

    def flow(self) -> None:
        """Lets through what waits and what comes."""
        self._flowing.set()

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Cuts all connections, and each new one at once."""
        with self._doing("refuse"):
            self.drop()
            yield

    @contextlib.contextmanager
    def losing_answers(self) -> Iterator[None]:
        """Cuts a connection when the answer to a command would come, instead of it."""
        with self._doing("lose"):
            yield

    @contextlib.contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        """For as long as the block lasts; several may ask for it at once."""
        with self._changing:
            self._asked[what] += 1
        try:
            yield
        finally:
            with self._changing:
                self._asked[what] -= 1

    def close(self) -> None:
        """Cuts all and refuses further ones."""
        self._listener.close()
        self.flow()
        self.drop()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = self._connected(client)
                if server is None:
                    client.close()
                    continue
                for pump in (self._send, self._receive):
                    threading.Thread(target=pump, args=(client, server), daemon=True).start()

    def _connected(self, client: socket.socket) -> socket.socket | None:
        """The other end for a new client; None where it is refused, or there is no server."""
        with self._changing:
            if self._asked["refuse"]:
                return None
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                return None
            self._open |= {client, server}
            return server

    def _send(self, client: socket.socket, server: socket.socket) -> None:
        self._pump(client, server, lambda chunk: self.change(chunk))

    def _receive(self, client: socket.socket, server: socket.socket) -> None:
        self._pump(server, client, self._cut)

    def _cut(self, chunk: bytes) -> bytes:
        if self._asked["lose"] and _ANSWER in chunk:
            raise ConnectionAbortedError
        if self.cut_after is None:
            return chunk
        kept, self.cut_after = chunk[: self.cut_after], self.cut_after - len(chunk)
        return kept

    def _pump(self, source: socket.socket, target: socket.socket, change: Change) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(1 << 16):
                self._flowing.wait()
                target.sendall(change(chunk))
                if self.cut_after is not None and self.cut_after <= 0:
                    break
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextlib.contextmanager
def proxy(server_port: int) -> Iterator[Proxy]:
    """A proxy, closed at the end."""
    standing = Proxy(server_port)
    try:
        yield standing
    finally:
        standing.close()
