"""What all tests need."""

import logging
import signal

import pytest

# A shell lets what it starts in the background ignore Ctrl-C, and so do all of its children, which
# tests interrupt. A handler is not inherited: they begin as in the foreground.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def loggers_as_they_were():
    """Commands let the package's logger write to their output alone, and silence the root's."""
    logger, root = logging.getLogger("fgd"), logging.getLogger()
    handlers, propagate, level = logger.handlers[:], logger.propagate, logger.level
    root_level = root.level
    yield
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)
    root.setLevel(root_level)
