"""A real HTTP server on the loopback device that remembers what it was asked for."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """A server with its `address` and the list of `requests` that its handler fills."""

    daemon_threads = True

    def __init__(self, handler: Callable) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.requests: list = []
        self.address = f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serving(handler: Callable) -> Iterator[Server]:
    """Serve with a class of `http.server`'s handlers until the block ends."""
    with Server(handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
