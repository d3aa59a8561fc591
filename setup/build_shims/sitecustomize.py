"""Imported by every Python that compiles mmcv (build_mmcv.py puts this folder on PYTHONPATH).

mmcv's setup.py runs its version file with exec() and reads the result from locals(). Since Python
3.13 (PEP 667) each call of exec() in a function has a copy of the local variables for itself, and
the name is not there. Until then both saw one dictionary; so they do here.
"""

import builtins
import sys

_exec = builtins.exec


def _exec_in_the_callers_names(code, globals=None, locals=None, /, **options):
    if globals is None and locals is None:
        frame = sys._getframe(1)
        globals, locals = frame.f_globals, frame.f_locals
    return _exec(code, globals, locals, **options)


builtins.exec = _exec_in_the_callers_names
