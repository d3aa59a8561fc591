"""What every part of a translation asks of a config's keys."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from fgd.errors import FGDError, suggestion


@dataclass(frozen=True)
class Target:
    """The version that a config is translated for.

    Attributes:
        name: of the version.
        instead: what to do where it cannot be translated.
    """

    name: str
    instead: str


FOR_3 = Target("mmdet 3", "write the config for mmdet 3 by hand")
FOR_2 = Target(
    "mmdet 2.28", "give the same model's config of mmdet 2 (`fgd zoo search` lists them)"
)


def check_keys(
    settings: dict[str, Any], known: Collection[str], place: str, target: Target = FOR_3
) -> None:
    """Refuse a key that is not among those that are known.

    Raises:
        FGDError: naming the first such key.
    """
    for key in settings:
        if key not in known and key != "type":
            raise FGDError(
                f"{place}.{key}: is not known to mean the same in {target.name}"
                f"{suggestion(key, known)}; {target.instead}"
            )
