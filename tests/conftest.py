"""What all tests need."""

import signal

# A shell lets what it starts in the background ignore Ctrl-C, and so do all of its children, which
# tests interrupt. A handler is not inherited: they begin as in the foreground.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
