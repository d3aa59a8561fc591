"""The twelve COCO figures of every model: teachers, baselines and distilled students alike."""


rule evaluate:
    input:
        unpack(model_files),
        data="results/{suite}/data/val.json",
    output:
        "results/{suite}/{model}/eval.json",
    log:
        "results/{suite}/logs/evaluate/{model}.log",
    benchmark:
        "results/{suite}/benchmarks/evaluate/{model}.tsv"
    conda:
        ENVIRONMENT
    threads: by_size(1, 4)
    resources:
        mem_mb=by_size(4000, 32000),
        runtime=by_size(30, 240),
    message:
        "Evaluate {wildcards.model} ({wildcards.suite})"
    shell:
        "fgd evaluate {input.config:q} {input.checkpoint:q} --out {output:q} > {log:q} 2>&1"
