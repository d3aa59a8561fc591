"""From a training checkpoint to a plain mmdet one, whose name ends in its hash; to mmdet 3 and ONNX."""


rule transfer:
    input:
        "results/{suite}/{row}/{arm}{seed}/trained.pth",
    output:
        "results/{suite}/{row}/{arm}{seed}/student.pth",
    log:
        "results/{suite}/logs/transfer/{row}_{arm}{seed}.log",
    benchmark:
        "results/{suite}/benchmarks/transfer/{row}_{arm}{seed}.tsv"
    container:
        image
    resources:
        mem_mb=by_size(2000, 8000),
        runtime=10,
        slurm_partition=from_cluster("partition"),
        slurm_account=from_cluster("account"),
    params:
        name=lambda w: jobs.student_name(w.row, w.arm + w.seed),
    message:
        "Transfer the student {params.name} ({wildcards.suite})"
    shell:
        "fgd transfer {input:q} --name {params.name:q} --out {output:q}"
        " > {log:q} 2>&1"


rule transfer_to_mmdet3:
    input:
        config="results/{suite}/{row}/{arm}{seed}/student.py",
        checkpoint="results/{suite}/{row}/{arm}{seed}/student.pth",
    output:
        config="results/{suite}/{row}/{arm}{seed}/mmdet3/student.py",
        checkpoint="results/{suite}/{row}/{arm}{seed}/mmdet3/student.pth",
    log:
        "results/{suite}/logs/transfer_to_mmdet3/{row}_{arm}{seed}.log",
    benchmark:
        "results/{suite}/benchmarks/transfer_to_mmdet3/{row}_{arm}{seed}.tsv"
    container:
        image
    resources:
        mem_mb=by_size(2000, 8000),
        runtime=10,
        slurm_partition=from_cluster("partition"),
        slurm_account=from_cluster("account"),
    params:
        name=lambda w: jobs.student_name(w.row, w.arm + w.seed),
        folder=subpath(output.config, parent=True),
    message:
        "Transfer the student {params.name} ({wildcards.suite}) to mmdet 3"
    shell:
        "fgd transfer {input.checkpoint:q} --for mmdet3 --config {input.config:q}"
        " --name {params.name:q} --out {params.folder:q} > {log:q} 2>&1"


rule export:
    input:
        config="results/{suite}/{row}/{arm}{seed}/student.py",
        checkpoint="results/{suite}/{row}/{arm}{seed}/student.pth",
    output:
        "results/{suite}/{row}/{arm}{seed}/student.onnx",
    log:
        "results/{suite}/logs/export/{row}_{arm}{seed}.log",
    benchmark:
        "results/{suite}/benchmarks/export/{row}_{arm}{seed}.tsv"
    container:
        image
    resources:
        mem_mb=by_size(2000, 8000),
        runtime=30,
        slurm_partition=from_cluster("partition"),
        slurm_account=from_cluster("account"),
    message:
        "Export {wildcards.row} ({wildcards.suite}) to ONNX"
    shell:
        "fgd export {input.config:q} {input.checkpoint:q} --out {output:q} > {log:q} 2>&1"
