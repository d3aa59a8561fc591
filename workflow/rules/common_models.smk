"""Where teachers, backbones and students come from, and what their files are called."""

import re
import shlex
from pathlib import Path


def trained_here(wildcards, kind):
    """Whether the suite trains and publishes a teacher or a backbone itself."""
    if kind == "teachers":
        return suite(wildcards).trains(wildcards.teacher)
    return is_mini(wildcards)


def published(wildcards, kind, name):
    """The metafile of a model that the suite publishes itself; nothing for one of a public zoo."""
    if not trained_here(wildcards, kind):
        return []
    return f"results/{wildcards.suite}/zoo/{kind}/{name}.yml"


def index(wildcards, kind):
    """The option that names the folder of such metafiles."""
    if not trained_here(wildcards, kind):
        return ""
    return f"--index results/{wildcards.suite}/zoo/{kind}"


def own_teacher(wildcards):
    """The user's own files that a teacher is; None if it is downloaded or trained."""
    found = teacher(wildcards)
    return None if found.trained else found.own


def own_checkpoint(wildcards):
    """The file that an own teacher is copied from."""
    own = own_teacher(wildcards)
    return [] if own is None else own.checkpoint


def teacher_source(wildcards):
    """What `fgd download` gets a teacher by: a name and where to look it up, or a file."""
    own = own_teacher(wildcards)
    if own is None:
        return f"{shlex.quote(wildcards.teacher)} {index(wildcards, 'teachers')}"
    hashed = f" --sha256 {own.sha256}" if own.sha256 else ""
    return shlex.quote(str(own.checkpoint)) + hashed


def teacher_promise(wildcards):
    """Where `fgd check-teacher` reads the AP that a teacher should reach."""
    own = own_teacher(wildcards)
    return index(wildcards, "teachers") if own is None else f"--ap {own.ap}"


def least_ap(wildcards):
    """What a teacher that the suite trains has to reach to be published."""
    mini = suite(wildcards).mini
    return mini["teacher"].get("least_ap", 0) if mini else 0


def teacher_backbone(wildcards):
    """The file that a teacher's own training starts from; nothing for one from scratch."""
    return backbone(wildcards, teacher(wildcards).backbone)


def backbone(wildcards, key):
    """The file of a backbone; nothing where there is none, for a detector from scratch."""
    return suite(wildcards).backbone_checkpoint(key) if key else []


def own_backbone(wildcards):
    """The user's own file that a backbone is copied from; nothing where it has an address."""
    name = plan(wildcards).backbones[wildcards.backbone]
    return [] if trained_here(wildcards, "backbones") or "://" in name else name


def teacher_checkpoint(wildcards):
    return suite(wildcards).teacher_checkpoint(row(wildcards).teacher)


def teacher_check(wildcards):
    """That the row's teacher is the published one."""
    return f"results/{wildcards.suite}/teachers/{row(wildcards).teacher}/checked.json"


@explained
def seed(wildcards):
    """The seed of a training that a path names."""
    loaded = suite(wildcards)
    if not wildcards.seed:
        return loaded.seed
    number = int(re.sub(r"\D", "", wildcards.seed))
    if number == loaded.seed:
        raise FGDError(
            f"{wildcards.row}/{wildcards.arm}{wildcards.seed}: the suite's first seed needs no "
            f"folder of its own, ask for {wildcards.row}/{wildcards.arm}"
        )
    return number


def student_name(wildcards):
    """What a student's checkpoint is called: <row>_fgd, with a further seed <row>_fgd_seed1."""
    run = Path(wildcards.arm + wildcards.seed)
    return "_".join([wildcards.row, *run.parts])


def model_files(wildcards):
    """Config and checkpoint of a teacher or a student."""
    is_teacher = wildcards.model.startswith("teachers/")
    names = (
        ("detector.py", "teacher.pth") if is_teacher else ("student.py", "student.pth")
    )
    folder = f"results/{wildcards.suite}/{wildcards.model}"
    return {"config": f"{folder}/{names[0]}", "checkpoint": f"{folder}/{names[1]}"}
