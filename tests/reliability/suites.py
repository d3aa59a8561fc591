"""Wrong suites, generated: each is accepted and plans, or refused in a message naming the key."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

KEY = st.one_of(
    st.sampled_from(["sede", "gpu", "rows ", "lr", "--", "a b", "a;b", "x\ny", "é", "0", ""]),
    st.text(max_size=8),
)
VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.floats(),
    st.sampled_from(["", "-x", "a b", "'", '"', "$(id)", "`id`", "x\ny", "../..", "{row}", "éü"]),
    st.text(max_size=12),
    st.lists(st.integers(-2, 5), max_size=3),
    st.dictionaries(KEY, st.integers(-2, 2), max_size=2),
)


def paths(value: Any, start: tuple = ()) -> Iterator[tuple]:
    """The path of every key and entry of nested dictionaries and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*start, key)
        if isinstance(item, dict | list):
            yield from paths(item, (*start, key))


def count(folder: Path, sound: dict[str, Any], wanted: int) -> dict[str, int]:
    """Change a sound suite `wanted` times.

    Returns:
        "accepted", "refused", and "traceback" and "unnamed": refusals of another kind.
    """
    counts = dict.fromkeys(("accepted", "refused", "traceback", "unnamed"), 0)
    bad: list[str] = []
    places = list(paths(sound))
    file = folder / "suite.yaml"

    @seed(0)
    @settings(
        max_examples=wanted,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(places), st.sampled_from(["put", "drop", "add"]), KEY, VALUE)
    def change(place: tuple, action: str, key: str, value: Any) -> None:
        suite = copy.deepcopy(sound)
        names = _change(suite, place, action, key, value)
        file.write_text(yaml.safe_dump(suite, allow_unicode=True))
        outcome, words = _outcome(file)
        if outcome == "refused" and not any(name in words for name in names):
            outcome = "unnamed"
        counts[outcome] += 1
        if outcome in ("traceback", "unnamed"):
            bad.append(f"{outcome}: {action} {place} {key!r} {value!r}: {words}")

    change()
    (folder / "bad.txt").write_text("\n".join(bad))
    return counts


def _change(suite: dict, place: tuple, action: str, key: str, value: Any) -> list[str]:
    """Change a suite; what a refusal has to name, one of them.

    The innermost key around the change, a key that is new, or an entry of a list.
    """
    parent: Any = suite
    for part in place[:-1]:
        parent = parent[part]
    names = [next(part for part in reversed(place) if isinstance(part, str))]
    if action == "drop":
        del parent[place[-1]]
    elif action == "put" or not isinstance(parent[place[-1]], dict):
        parent[place[-1]] = value
        if isinstance(parent, list):
            names += [str(value) or "''", repr(value)]
    else:
        parent[place[-1]][key] = value
        names += [key or "''", repr(key)]
    return names


def _outcome(file: Path) -> tuple[str, str]:
    from cluster import settings as cluster_settings
    from fgd import recipe
    from fgd.errors import FGDError
    from fgd.suite import load_suite

    try:
        suite = load_suite(file)
        cluster_settings.check(suite, file)
        recipe.plan(suite)
        first = recipe.load_row(suite.rows[0])
        for arm in ("fgd", "baseline"):
            recipe.compose(suite, first, arm)
    except FGDError as error:
        return "refused", str(error)
    except Exception as error:
        return "traceback", repr(error)
    return "accepted", ""
