"""Where everything of a suite lies: the one place that knows the paths below its results.

Snakefile rules write the same paths out, with wildcards, to be read and searched; a test compares
them with these.
"""

from dataclasses import dataclass, replace
from pathlib import Path

TABLE_FORMATS = ("md", "csv", "json", "tex")
# Figures for a paper (fgd.report.figures), and what Snakemake's report calls them.
FIGURES = {
    "ap": "AP",
    "sizes": "AP by size",
    "losses": "losses",
    "epochs": "AP by epoch",
}
PICTURES = ("detections", "attention")
# Folders of the results that are no row's.
NO_ROWS = (
    "backbones", "benchmarks", "data", "figures", "head", "logs", "pictures", "teachers",
    "training", "zoo",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One training of a row.

    Attributes:
        row: the row that trains it.
        arm: "fgd" or "baseline".
        seed: one of the suite's.
    """

    row: str
    arm: str
    seed: int


class _File:
    """A file or folder by its name in the folder of a group."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, files: "_Files", owner: type) -> str:
        return f"{files.folder}/{self._name}"


@dataclass(frozen=True)
class _Files:
    """A group of files.

    Attributes:
        folder: of them all.
    """

    folder: str


class TrainingFiles(_Files):
    """The files of a training: a row's run, or a teacher that the suite trains."""

    work_dir = _File("run")  # states and log, which Snakemake knows nothing of
    log = _File("run/log.jsonl")
    weights = _File("run/weights.json")  # where each tensor that it started with is from
    final = _File("run/final.pth")  # not `trained`: Snakemake removes outputs before it runs a rule
    jobs = _File("jobs")  # records of jobs, and what their ranks print
    trained = _File("trained.pth")  # the last state
    evaluation = _File("eval.json")  # COCO's metrics; of a teacher, before it is published


class RunFiles(TrainingFiles):
    """The files of one training of a row."""

    config = _File("config.py")  # what `fgd train` takes
    detector = _File("student.py")  # the student's plain mmdet config
    checkpoint = _File("student.pth")  # the plain student
    mmdet3_config = _File("mmdet3/student.py")
    mmdet3_checkpoint = _File("mmdet3/student.pth")
    onnx = _File("student.onnx")
    card = _File("README.md")  # as hubs look for it
    provenance = _File("provenance.json")  # from what it was made


class TeacherFiles(_Files):
    """The files of a teacher, wherever its weights come from."""

    config = _File("config.py")  # what `fgd train` would take
    detector = _File("detector.py")  # the plain mmdet config
    checkpoint = _File("teacher.pth")
    checked = _File("checked.json")  # the report that it has the AP that is expected of it
    evaluation = _File("eval.json")  # COCO's metrics
    provenance = _File("provenance.json")


@dataclass(frozen=True)
class Layout:
    """The files of a suite.

    Attributes:
        results: folder of them all.
        first_seed: whose runs have no folder of their own inside their arm's.
    """

    results: str
    first_seed: int = 0

    def at(self, results: Path) -> "Layout":
        """The same files in another folder."""
        return replace(self, results=str(results))

    def run_name(self, arm: str, seed: int) -> str:
        """A run among those of its row: "fgd" with the first seed, "fgd/seed1" with another.

        A suite that gets more seeds keeps what it has.
        """
        return arm if seed == self.first_seed else f"{arm}/seed{seed}"

    def run_folder(self, run: Run) -> str:
        """A run's folder in the results."""
        return f"{run.row}/{self.run_name(run.arm, run.seed)}"

    def run(self, run: Run) -> RunFiles:
        """The files of a row's run."""
        return RunFiles(f"{self.results}/{self.run_folder(run)}")

    def teacher_folder(self, name: str) -> str:
        """A teacher's folder in the results."""
        return f"teachers/{name}"

    def teacher(self, name: str) -> TeacherFiles:
        """The files of a teacher."""
        return TeacherFiles(f"{self.results}/{self.teacher_folder(name)}")

    def teacher_training(self, name: str) -> TrainingFiles:
        """The training of a teacher that the suite trains itself."""
        return TrainingFiles(f"{self.results}/training/teachers/{name}")

    def backbone(self, key: str) -> str:
        """A backbone's weights."""
        return f"{self.results}/backbones/{key}.pth"

    def backbone_training(self, key: str) -> str:
        """The weights of a backbone that the suite trains itself, before they are published."""
        return f"{self.results}/training/backbones/{key}.pth"

    def index(self, kind: str) -> str:
        """The folder of the metafiles that the suite publishes: of "teachers" or "backbones"."""
        return f"{self.results}/zoo/{kind}"

    def metafile(self, kind: str, name: str) -> str:
        """The metafile of a model that the suite publishes."""
        return f"{self.index(kind)}/{name}.yml"

    def data(self, split: str) -> str:
        """The report that a split of the data is sound."""
        return f"{self.results}/data/{split}.json"

    @property
    def downloaded(self) -> str:
        """The report of a data set's download."""
        return f"{self.results}/data/downloaded.json"

    def table(self, name: str, form: str) -> str:
        """A "table" of all rows, or the "demo"'s, in one of its TABLE_FORMATS."""
        return f"{self.results}/{name}.{form}"

    @property
    def figures(self) -> str:
        """The folder of the figures for a paper."""
        return f"{self.results}/figures"

    def figure(self, name: str, form: str) -> str:
        """A figure (FIGURES) as "pdf" or "svg"."""
        return f"{self.figures}/{name}.{form}"

    def picture(self, row: str, kind: str) -> str:
        """A row's "detections" or "attention" (PICTURES)."""
        return f"{self.results}/pictures/{row}_{kind}.png"

    def page(self, name: str = "index") -> str:
        """The page of all rows, or the "demo"."""
        return f"{self.results}/{name}.html"

    @property
    def head(self) -> str:
        """The folder of the head job's script and logs, which Snakemake knows nothing of."""
        return f"{self.results}/head"

    def log(self, rule: str, name: str) -> str:
        """What a rule's job prints."""
        return f"{self.results}/logs/{rule}/{name}.log"

    def benchmark(self, rule: str, name: str) -> str:
        """How long a rule's job took, and in how much memory."""
        return f"{self.results}/benchmarks/{rule}/{name}.tsv"


def default_results(suite: str) -> str:
    """Where the results of a suite lie that Snakemake runs."""
    return f"results/{suite}"
