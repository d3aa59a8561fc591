"""Which of the zoo's models can teach a student.

`facts` is what is known of each model without building it, kept in a cache; `match` asks them.
"""

from fgd.teachers.facts import Facts, all_facts, parameters
from fgd.teachers.match import Matches, Teacher, judged, match

__all__ = ["Facts", "Matches", "Teacher", "all_facts", "judged", "match", "parameters"]
