"""Stands for Apptainer where it cannot be installed: it notes what it is asked, and obeys outside.

What it is given for the container's environment it sets, as Apptainer does; folders stay as they
are, and the image is not looked at: its `python` and `fgd` are those of these tests.
"""

import sys
from pathlib import Path

_SCRIPT = """#!/bin/sh
if [ "$1" = --version ]; then echo "apptainer version 1.4.5"; exit; fi
{{ for word; do printf '%s\\t' "$word"; done; echo; }} >>{log}
while [ "$1" != exec ]; do shift; done
shift
PATH={path}:$PATH
for pair in $(env | sed -n 's/^APPTAINERENV_//p'); do export "$pair"; done
while :; do
    case "$1" in
    --nv) shift ;;
    --env) export "$2"; shift 2 ;;
    --pwd) cd "$2"; shift 2 ;;
    --bind) shift 2 ;;
    --home) export HOME="$2"; shift 2 ;;
    *) break ;;
    esac
done
shift
exec "$@"
"""


class FakeApptainer:
    """An `apptainer` in a folder that is to be put on the PATH."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._log = folder / "apptainer.log"
        program = folder / "apptainer"
        program.write_text(_SCRIPT.format(log=self._log, path=Path(sys.executable).parent))
        program.chmod(0o755)

    @property
    def asked(self) -> list[list[str]]:
        """The words of every call, but for --version."""
        if not self._log.exists():
            return []
        text = self._log.read_text().replace("\\\n", " ")
        return [line.split("\t")[:-1] for line in text.splitlines() if "\t" in line]
