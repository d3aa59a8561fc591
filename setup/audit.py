"""What the locked packages are: their licences, and what is known to be wrong with them.

`make audit` runs it. Known vulnerabilities come from pip-audit, which asks a public database;
where that cannot be reached, it says so: nothing is judged then. `make audit DATABASE=FOLDER` reads
a clone of https://github.com/pypa/advisory-database instead, and judges as of its last commit.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import yaml
from packaging.version import Version

from fgd.markdown import table

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
    rows = [[p.name, p.version, licence(p.metadata)] for p in packages]
    LICENCES.write_text(
        "# Packages and their licences\n\n"
        "`make audit` wrote this page from the metadata of what `make setup` installed.\n\n"
        + table(["package", "version", "licence"], rows, 3)
        + "\n",
        encoding="utf-8",
    )
    print(f"{len(rows)} packages and their licences: {LICENCES.relative_to(LOCK.parent.parent)}")


def from_clone(database: Path) -> int:
    """Print what a clone of the advisory database has on the locked packages; 0 if nothing."""
    command = ["git", "-C", database, "log", "-1", "--format=%cs"]
    day = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    locked = re.findall(r"^([\w.-]+)==([^\s;]+)", LOCK.read_text(encoding="utf-8"), re.M)
    read, found = 0, 0
    for name, version in [*locked, *_compiled()]:
        folder = database / "vulns" / re.sub(r"[-_.]+", "-", name).lower()
        for file in sorted(folder.glob("*.yaml")):
            advisory = yaml.safe_load(file.read_text(encoding="utf-8"))
            read += 1
            if "withdrawn" not in advisory and _concerns(advisory, version):
                found += 1
                details = " ".join(advisory["details"].split())
                print(f"{name} {version}: {advisory['id']}, {details}")
    print(f"{len(locked)} locked packages, {read} advisories on them until {day}, {found} findings")
    return 1 if found else 0


def _compiled() -> Iterator[tuple[str, str]]:
    """mmcv, which is not in the lock: it is compiled."""
    for line in LOCK.with_name("mmcv.txt").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([\w.-]+)==(\S+)", line):
            yield match[1], match[2]
            yield match[1].removesuffix("-full"), match[2]


def _concerns(advisory: dict, version: str) -> bool:
    """Whether a version is affected, as https://ossf.github.io/osv-schema/ says."""
    for affected in advisory["affected"]:
        if version in affected.get("versions", ()):
            return True
        for span in affected.get("ranges", ()):
            if span["type"] == "ECOSYSTEM" and _within(span["events"], Version(version)):
                return True
    return False


def _within(events: list[dict[str, str]], version: Version) -> bool:
    inside = False
    for event in events:  # in the order of their versions
        if "introduced" in event:
            inside |= version >= Version(event["introduced"])
        elif "fixed" in event:
            inside &= version < Version(event["fixed"])
        elif "last_affected" in event:
            inside &= version <= Version(event["last_affected"])
    return inside


def main(database: str = "") -> int:
    """List licences, print findings; 0 if all packages were judged and are clean."""
    list_licences()
    if database:
        return from_clone(Path(database))
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
    sys.exit(main(*sys.argv[1:]))
