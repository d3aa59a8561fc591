"""The twelve COCO figures of every model: teachers, baselines and distilled students alike."""


rule evaluate:
    input:
        unpack(lambda w: of(w, jobs.model_files, w.model)),
        data="results/{suite}/data/val.json",
    output:
        figures="results/{suite}/{model}/eval.json",
        provenance="results/{suite}/{model}/provenance.json",
    log:
        "results/{suite}/logs/evaluate/{model}.log",
    benchmark:
        "results/{suite}/benchmarks/evaluate/{model}.tsv"
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
        "Evaluate {wildcards.model} ({wildcards.suite})"
    shell:
        "fgd evaluate {input.config:q} {input.checkpoint:q} --per-class --out {output.figures:q}"
        " --provenance {output.provenance:q} > {log:q} 2>&1"
