"""From a training checkpoint to a plain mmdet one, whose name ends in its hash."""


rule transfer:
    input:
        "results/{suite}/{row}/{arm}/trained.pth",
    output:
        "results/{suite}/{row}/{arm}/student.pth",
    log:
        "results/{suite}/logs/transfer/{row}_{arm}.log",
    benchmark:
        "results/{suite}/benchmarks/transfer/{row}_{arm}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=by_size(2000, 8000),
        runtime=10,
    message:
        "Transfer the student of {wildcards.row} ({wildcards.suite}, {wildcards.arm})"
    shell:
        "fgd transfer {input:q} --name {wildcards.row:q}_{wildcards.arm} --out {output:q}"
        " > {log:q} 2>&1"
