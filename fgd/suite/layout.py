"""Where everything of a suite lies: the one place that knows the paths below its results.

Snakefile rules write the same paths out, with wildcards, to be read and searched; a test compares
them with these.
"""

from dataclasses import dataclass, replace
from pathlib import Path

TABLES = ("table", "demo")
TABLE_FORMATS = ("md", "csv", "json", "tex")
# Figures for a paper (fgd.report.figures), and what Snakemake's report calls them.
FIGURES = {
    "ap": "AP",
    "sizes": "AP by size",
    "losses": "losses",
    "epochs": "AP by epoch",
}
PICTURES = ("detections", "attention")


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


@dataclass(frozen=True)
class TrainingFiles:
    """The files of a training, in its own folder.

    Attributes:
        folder: of a row's run, or of a teacher that the suite trains.
    """

    folder: str

    @property
    def work_dir(self) -> str:
        """Training states and log, which Snakemake knows nothing of."""
        return f"{self.folder}/run"

    @property
    def jobs(self) -> str:
        """Records of the training's jobs, and what their ranks print."""
        return f"{self.folder}/jobs"

    @property
    def final(self) -> str:
        """The last state, before it gets its place: Snakemake removes outputs before it runs."""
        return f"{self.work_dir}/final.pth"

    @property
    def log(self) -> str:
        """The training's log."""
        return f"{self.work_dir}/log.jsonl"

    @property
    def weights(self) -> str:
        """The audit of the weights that it started from."""
        return f"{self.work_dir}/weights.json"

    @property
    def trained(self) -> str:
        """The last state."""
        return f"{self.folder}/trained.pth"

    @property
    def evaluation(self) -> str:
        """COCO's figures; of a teacher that the suite trains, before it is published."""
        return f"{self.folder}/eval.json"


@dataclass(frozen=True)
class RunFiles(TrainingFiles):
    """The files of one training of a row."""

    @property
    def config(self) -> str:
        """What `fgd train` takes."""
        return f"{self.folder}/config.py"

    @property
    def detector(self) -> str:
        """The student's plain mmdet config."""
        return f"{self.folder}/student.py"

    @property
    def checkpoint(self) -> str:
        """The plain student."""
        return f"{self.folder}/student.pth"

    @property
    def provenance(self) -> str:
        """From what the student was made."""
        return f"{self.folder}/provenance.json"


@dataclass(frozen=True)
class TeacherFiles:
    """The files of a teacher, wherever its weights come from."""

    folder: str

    @property
    def config(self) -> str:
        """What `fgd train` would take."""
        return f"{self.folder}/config.py"

    @property
    def detector(self) -> str:
        """The plain mmdet config."""
        return f"{self.folder}/detector.py"

    @property
    def checkpoint(self) -> str:
        """Its weights."""
        return f"{self.folder}/teacher.pth"

    @property
    def checked(self) -> str:
        """The report that it has the AP that is expected of it."""
        return f"{self.folder}/checked.json"

    @property
    def evaluation(self) -> str:
        """COCO's figures."""
        return f"{self.folder}/eval.json"

    @property
    def provenance(self) -> str:
        """What it was evaluated with."""
        return f"{self.folder}/provenance.json"


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
        """A table (TABLES) in one of its TABLE_FORMATS."""
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

    def log(self, rule: str, name: str) -> str:
        """What a rule's job prints."""
        return f"{self.results}/logs/{rule}/{name}.log"

    def benchmark(self, rule: str, name: str) -> str:
        """How long a rule's job took, and in how much memory."""
        return f"{self.results}/benchmarks/{rule}/{name}.tsv"


def default_results(suite: str) -> str:
    """Where the results of a suite lie that Snakemake runs."""
    return f"results/{suite}"
