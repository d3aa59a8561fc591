"""What the locked packages are: their licences, and what is known to be wrong with them.

`make audit` runs it. Known vulnerabilities come from pip-audit, which asks a public database;
where that cannot be reached, it says so: nothing is judged then.
"""

import json
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

LOCK = Path(__file__).resolve().with_name("requirements.txt")
LICENCES = LOCK.parent.parent / "docs" / "dependencies.md"
UV = Path(sys.executable).with_name("uv")


def licence(metadata) -> str:
    """A package's licence, in as few words as its metadata has."""
    named = metadata.get("License-Expression")
    classified = [
        line.rsplit(" :: ", 1)[-1]
        for line in metadata.get_all("Classifier", [])
        if line.startswith("License ::")
    ]
    stated = (metadata.get("License") or "").strip().splitlines()
    return named or ", ".join(classified) or (stated[0][:60] if stated else "not stated")


def list_licences() -> None:
    """Write docs/dependencies.md."""
    packages = sorted(distributions(), key=lambda package: package.name.lower())
    lines = [f"| {p.name} | {p.version} | {licence(p.metadata)} |" for p in packages]
    LICENCES.write_text(
        "# Packages and their licences\n\n"
        "`make audit` wrote this page from the metadata of what `make setup` installed.\n\n"
        "| package | version | licence |\n|---|---|---|\n" + "\n".join(lines) + "\n",
        encoding="utf-8",
    )
    print(f"{len(lines)} packages and their licences: {LICENCES.relative_to(LOCK.parent.parent)}")


def main() -> int:
    """List licences, print pip-audit's findings; 0 if all packages were judged and are clean."""
    list_licences()
    command = [UV, "tool", "run", "--quiet", "pip-audit", "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "-r", LOCK]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        words = done.stderr.strip().splitlines()
        print(f"error: pip-audit did not run ({words[-1] if words else 'no answer'})")
        return 2
    judged = [package for package in packages if "skip_reason" not in package]
    found = [(p["name"], p["version"], v) for p in judged for v in p["vulns"]]
    for name, version, vulnerability in found:
        fixed = ", ".join(vulnerability["fix_versions"]) or "no version"
        print(f"{name} {version}: {vulnerability['id']}, fixed in {fixed}")
    print(f"{len(judged)} of {len(packages)} locked packages judged, {len(found)} findings")
    if len(judged) < len(packages):
        print("error: the database did not know the rest, or could not be reached from here")
    return 2 if found or len(judged) < len(packages) else 0


if __name__ == "__main__":
    sys.exit(main())
