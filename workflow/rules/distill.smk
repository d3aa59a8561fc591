"""The trainings of a row: the student with its teacher, and without as the baseline.

A training keeps its state in a work folder that Snakemake knows nothing of, so that a killed one
resumes where it was; the output appears when training is done.
"""


rule compose:
    input:
        suite=lambda wildcards: ancient(SUITE_FILES[wildcards.suite]),
    output:
        config="results/{suite}/{row}/{arm}/config.py",
        student="results/{suite}/{row}/{arm}/student.py",
    log:
        "results/{suite}/logs/compose/{row}_{arm}.log",
    benchmark:
        "results/{suite}/benchmarks/compose/{row}_{arm}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        folder=subpath(output.config, parent=True),
        digest=digest,
    message:
        "Compose the configs of {wildcards.row} ({wildcards.suite}, {wildcards.arm})"
    shell:
        "fgd compose {input.suite:q} {wildcards.row:q} --arm {wildcards.arm}"
        " --out {params.folder:q} > {log:q} 2>&1"


rule distill:
    input:
        config="results/{suite}/{row}/fgd/config.py",
        data="results/{suite}/data/train.json",
        backbone=lambda wildcards: backbone(wildcards, row(wildcards).backbone),
        teacher=teacher_checkpoint,
    output:
        "results/{suite}/{row}/fgd/trained.pth",
    log:
        "results/{suite}/logs/distill/{row}.log",
    benchmark:
        "results/{suite}/benchmarks/distill/{row}.tsv"
    conda:
        ENVIRONMENT
    threads: training_threads
    resources:
        mem_mb=by_size(4000, 64000),
        runtime=by_size(60, 4320),
        gpus=training_processes,
    params:
        work_dir="results/{suite}/{row}/fgd/run",
    message:
        "Distil {wildcards.row} ({wildcards.suite}). Progress:\n    tail -f {log}"
    shell:
        "fgd train {input.config:q} --work-dir {params.work_dir:q} --out {output:q}"
        " > {log:q} 2>&1"


rule baseline:
    input:
        config="results/{suite}/{row}/baseline/config.py",
        data="results/{suite}/data/train.json",
        backbone=lambda wildcards: backbone(wildcards, row(wildcards).backbone),
    output:
        "results/{suite}/{row}/baseline/trained.pth",
    log:
        "results/{suite}/logs/baseline/{row}.log",
    benchmark:
        "results/{suite}/benchmarks/baseline/{row}.tsv"
    conda:
        ENVIRONMENT
    threads: training_threads
    resources:
        mem_mb=by_size(4000, 64000),
        runtime=by_size(60, 4320),
        gpus=training_processes,
    params:
        work_dir="results/{suite}/{row}/baseline/run",
    message:
        "Train the baseline of {wildcards.row} ({wildcards.suite}). Progress:\n    tail -f {log}"
    shell:
        "fgd train {input.config:q} --work-dir {params.work_dir:q} --out {output:q}"
        " > {log:q} 2>&1"
