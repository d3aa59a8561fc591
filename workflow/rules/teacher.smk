"""Teachers: downloaded by name, their hash verified; the user's own are copied.

What a suite trains itself (all teachers of a mini suite, at full size those that no model zoo has) it
publishes first, each as a metafile with a file:// address, so that the download is the same.
"""


rule compose_teacher:
    input:
        suite=lambda w: ancient(SUITE_FILES[w.suite]),
    output:
        config="results/{suite}/teachers/{teacher}/config.py",
        detector="results/{suite}/teachers/{teacher}/detector.py",
    log:
        "results/{suite}/logs/compose_teacher/{teacher}.log",
    benchmark:
        "results/{suite}/benchmarks/compose_teacher/{teacher}.tsv"
    container:
        image
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        folder=subpath(output.config, parent=True),
        digest=lambda w: of(w, jobs.teacher_digest, w.teacher),
    message:
        "Compose the configs of teacher {wildcards.teacher} ({wildcards.suite})"
    shell:
        "fgd compose {input.suite:q} --teacher {wildcards.teacher:q} --planned {params.digest}"
        " --out {params.folder:q} > {log:q} 2>&1"


rule train_teacher:
    input:
        config="results/{suite}/teachers/{teacher}/config.py",
        data="results/{suite}/data/train.json",
        backbone=lambda w: of(w, jobs.teacher_backbone, w.teacher),
    output:
        "results/{suite}/training/teachers/{teacher}/trained.pth",
    log:
        "results/{suite}/logs/train_teacher/{teacher}.log",
    benchmark:
        "results/{suite}/benchmarks/train_teacher/{teacher}.tsv"
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
        work_dir="results/{suite}/training/teachers/{teacher}/run",
    message:
        "Train teacher {wildcards.teacher} ({wildcards.suite}). Progress:\n    tail -f {log}"
    shell:
        "fgd-cluster train {params.suite:q} {wildcards.teacher:q} {input.config:q}"
        " --on {resources.launch_on} --work-dir {params.work_dir:q} --out {output:q}"
        " > {log:q} 2>&1"


rule evaluate_trained_teacher:
    input:
        config="results/{suite}/teachers/{teacher}/detector.py",
        checkpoint="results/{suite}/training/teachers/{teacher}/trained.pth",
        data="results/{suite}/data/val.json",
    output:
        "results/{suite}/training/teachers/{teacher}/eval.json",
    log:
        "results/{suite}/logs/evaluate_trained_teacher/{teacher}.log",
    benchmark:
        "results/{suite}/benchmarks/evaluate_trained_teacher/{teacher}.tsv"
    container:
        image
    threads: by_size(1, 4)
    resources:
        mem_mb=by_size(4000, 32000),
        runtime=by_size(30, 240),
        gpu=evaluation_gpus,
        slurm_partition=from_cluster("partition"),
        slurm_account=from_cluster("account"),
    message:
        "Evaluate teacher {wildcards.teacher} ({wildcards.suite}) before it is published"
    shell:
        "fgd evaluate {input.config:q} {input.checkpoint:q} --out {output:q} > {log:q} 2>&1"


rule publish_teacher:
    input:
        checkpoint="results/{suite}/training/teachers/{teacher}/trained.pth",
        config="results/{suite}/teachers/{teacher}/detector.py",
        evaluation="results/{suite}/training/teachers/{teacher}/eval.json",
    output:
        "results/{suite}/zoo/teachers/{teacher}.yml",
    log:
        "results/{suite}/logs/publish_teacher/{teacher}.log",
    benchmark:
        "results/{suite}/benchmarks/publish_teacher/{teacher}.tsv"
    container:
        image
    resources:
        mem_mb=by_size(2000, 8000),
        runtime=10,
    params:
        index=subpath(output[0], parent=True),
        least_ap=lambda w: suite(w).least_ap,
    message:
        "Publish teacher {wildcards.teacher} in {params.index}"
    shell:
        "fgd publish {input.checkpoint:q} --name {wildcards.teacher:q} --config {input.config:q}"
        " --eval {input.evaluation:q} --index {params.index:q} --least-ap {params.least_ap}"
        " > {log:q} 2>&1"


rule download_teacher:
    input:
        # Nothing is fetched for data that cannot be trained on.
        data=ancient("results/{suite}/data/train.json"),
        metafile=lambda w: of(w, jobs.metafile, "teachers", w.teacher),
        own=lambda w: of(w, jobs.own_checkpoint, w.teacher),
    output:
        "results/{suite}/teachers/{teacher}/teacher.pth",
    log:
        "results/{suite}/logs/download_teacher/{teacher}.log",
    benchmark:
        "results/{suite}/benchmarks/download_teacher/{teacher}.tsv"
    container:
        image
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        source=lambda w: of(w, jobs.teacher_source, w.teacher),
    message:
        "Download teacher {wildcards.teacher} ({wildcards.suite})"
    shell:
        "fgd download {params.source} --out {output:q} > {log:q} 2>&1"


# The gate before distilling. It evaluates by itself: were it downstream of `evaluate`, then
# `-R evaluate` would put every distillation in doubt.
rule check_teacher:
    input:
        config="results/{suite}/teachers/{teacher}/detector.py",
        checkpoint="results/{suite}/teachers/{teacher}/teacher.pth",
        data="results/{suite}/data/val.json",
        metafile=lambda w: of(w, jobs.metafile, "teachers", w.teacher),
    output:
        "results/{suite}/teachers/{teacher}/checked.json",
    log:
        "results/{suite}/logs/check_teacher/{teacher}.log",
    benchmark:
        "results/{suite}/benchmarks/check_teacher/{teacher}.tsv"
    container:
        image
    threads: by_size(1, 4)
    resources:
        mem_mb=by_size(4000, 32000),
        runtime=by_size(30, 240),
        gpu=evaluation_gpus,
        slurm_partition=from_cluster("partition"),
        slurm_account=from_cluster("account"),
    params:
        promise=lambda w: of(w, jobs.teacher_promise, w.teacher),
        tolerance=lambda w: suite(w).teacher_tolerance,
    message:
        "Compare teacher {wildcards.teacher} ({wildcards.suite}) with its published AP"
    shell:
        "fgd check-teacher {wildcards.teacher:q} {input.config:q} {input.checkpoint:q}"
        " {params.promise} --tolerance {params.tolerance} --out {output:q} > {log:q} 2>&1"
