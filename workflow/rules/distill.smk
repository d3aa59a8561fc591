"""The trainings of a row: the student with its teacher, and without as the baseline.

The launcher (`fgd-cluster train`) trains on this machine, or on Slurm where the profile says so, and
waits. A training keeps its state in a work folder that Snakemake knows nothing of, so that
a killed one resumes where it was; the output appears when training is done.
"""


rule compose:
    input:
        suite=lambda w: ancient(SUITE_FILES[w.suite]),
    output:
        config="results/{suite}/{row}/{arm}{seed}/config.py",
        student="results/{suite}/{row}/{arm}{seed}/student.py",
    log:
        "results/{suite}/logs/compose/{row}_{arm}{seed}.log",
    benchmark:
        "results/{suite}/benchmarks/compose/{row}_{arm}{seed}.tsv"
    container:
        image
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        folder=subpath(output.config, parent=True),
        seed=lambda w: of(w, jobs.seed, w.row, w.arm + w.seed),
        digest=lambda w: of(w, jobs.digest, w.row, w.arm + w.seed),
    message:
        "Compose the configs of {wildcards.row} ({wildcards.suite}, {wildcards.arm}{wildcards.seed})"
    shell:
        "fgd compose {input.suite:q} {wildcards.row:q} --arm {wildcards.arm}"
        " --seed {params.seed} --planned {params.digest} --out {params.folder:q} > {log:q} 2>&1"


rule distill:
    input:
        config="results/{suite}/{row}/fgd{seed}/config.py",
        data="results/{suite}/data/train.json",
        backbone=lambda w: of(w, jobs.backbone, w.row),
        teacher=lambda w: of(w, jobs.teacher_checkpoint, w.row),
        # Days of training wait for the teacher's own AP. Not `ancient`: Snakemake would not look
        # whether the teacher is another one while it is still to be checked. After another check of
        # the same teacher the launcher finds the training done.
        checked=lambda w: of(w, jobs.teacher_checked, w.row),
    output:
        "results/{suite}/{row}/fgd{seed}/trained.pth",
    log:
        "results/{suite}/logs/distill/{row}{seed}.log",
    benchmark:
        "results/{suite}/benchmarks/distill/{row}{seed}.tsv"
    container:
        outside
    threads: training_threads
    resources:
        mem_mb=by_size(4000, 64000),
        runtime=by_size(60, 4320),
        gpus=lambda w: suite(w).gpus,
        launch_on="local",
    params:
        suite=lambda w: SUITE_FILES[w.suite],
        work_dir="results/{suite}/{row}/fgd{seed}/run",
        run=lambda w: of(w, Experiment.run, w.row, f"fgd{w.seed}"),
        # Another version of the method distils anew.
        method=method_id(),
    message:
        "Distil {wildcards.row}{wildcards.seed} ({wildcards.suite}). Progress:\n    tail -f {log}"
    shell:
        "fgd-cluster train {params.suite:q} {params.run.row:q} {input.config:q}"
        " --arm {params.run.arm} --seed {params.run.seed} --on {resources.launch_on}"
        " --work-dir {params.work_dir:q} --out {output:q}"
        " > {log:q} 2>&1"


rule baseline:
    input:
        config="results/{suite}/{row}/baseline{seed}/config.py",
        data="results/{suite}/data/train.json",
        backbone=lambda w: of(w, jobs.backbone, w.row),
    output:
        "results/{suite}/{row}/baseline{seed}/trained.pth",
    log:
        "results/{suite}/logs/baseline/{row}{seed}.log",
    benchmark:
        "results/{suite}/benchmarks/baseline/{row}{seed}.tsv"
    # Students wait for their teachers, baselines for nobody: they fill the gaps.
    priority: -1
    container:
        outside
    threads: training_threads
    resources:
        mem_mb=by_size(4000, 64000),
        runtime=by_size(60, 4320),
        gpus=lambda w: suite(w).gpus,
        launch_on="local",
    params:
        suite=lambda w: SUITE_FILES[w.suite],
        work_dir="results/{suite}/{row}/baseline{seed}/run",
        run=lambda w: of(w, Experiment.run, w.row, f"baseline{w.seed}"),
    message:
        "Train the baseline of {wildcards.row}{wildcards.seed} ({wildcards.suite}). Progress:\n    tail -f {log}"
    shell:
        "fgd-cluster train {params.suite:q} {params.run.row:q} {input.config:q}"
        " --arm {params.run.arm} --seed {params.run.seed} --on {resources.launch_on}"
        " --work-dir {params.work_dir:q} --out {output:q}"
        " > {log:q} 2>&1"
