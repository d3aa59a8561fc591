"""Which of the zoo's models can teach a student.

`facts` is what is known of each model without building it, and of some as they are built, kept in a
cache; `match` asks them.
"""

from fgd.teachers.facts import Built, Facts, all_facts, built
from fgd.teachers.match import Matches, Teacher, compared, judged, match

__all__ = [
    "Built",
    "Facts",
    "Matches",
    "Teacher",
    "all_facts",
    "built",
    "compared",
    "judged",
    "match",
]
