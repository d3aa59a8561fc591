"""Training states on their way to disk while training goes on."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor


class Background:
    """One thread that does one thing at a time; what goes wrong there is raised where it is used.

    As a context manager it ends when all is done.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state")
        self._running: Future | None = None

    def start(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call `function` in the thread, once what it was doing is done."""
        self.wait()
        self._running = self._thread.submit(function, *arguments)

    def check(self) -> None:
        """Raise the error of what has ended; do not wait for what has not."""
        if self._running is not None and self._running.done():
            self.wait()

    def wait(self) -> None:
        """Wait for what is being done, and raise its error."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def __enter__(self) -> "Background":
        return self

    def __exit__(self, kind: type | None, *_: Any) -> None:
        self._thread.shutdown(wait=True)
        if kind is None:  # an error of the training itself says more
            self.wait()


class Snapshot:
    """A copy, on the host, of all tensors nested in dictionaries and lists.

    Tensors of a GPU are copied in its stream, after what was queued before and ahead of what comes
    later: the host does not wait, and the next step may already change them. `content` does.
    """

    def __init__(self, value: Any) -> None:
        self._copy = _copied(value)
        self._done = torch.cuda.Event() if torch.cuda.is_available() else None
        if self._done is not None:
            self._done.record()

    def content(self) -> Any:
        """The copy, once it is complete."""
        if self._done is not None:
            self._done.synchronize()
        return self._copy


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        copy = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)
        return copy.copy_(value.detach(), non_blocking=True)
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value)
    return value
