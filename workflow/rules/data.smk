"""The data set: the mini set is written, COCO is checked; backbones, the weights students begin with."""


rule write_mini_set:
    output:
        directory("data/mini"),
    log:
        "results/logs/write_mini_set.log",
    benchmark:
        "results/benchmarks/write_mini_set.tsv"
    container:
        image
    resources:
        mem_mb=2000,
        runtime=10,
    message:
        "Write the mini set: digits on photographs, in {output}"
    shell:
        "fgd data mini --out {output:q} > {log:q} 2>&1"


# Its output is a report and not the data: Snakemake removes outputs before it runs a rule.
rule download_coco:
    output:
        "results/{suite}/data/downloaded.json",
    log:
        "results/{suite}/logs/download_coco.log",
    benchmark:
        "results/{suite}/benchmarks/download_coco.tsv"
    container:
        image
    resources:
        mem_mb=2000,
        runtime=1440,
    params:
        root=lambda w: of(w, jobs.coco_root),
        address=lambda w: suite(w).coco_address,
    message:
        "Download COCO 2017 to {params.root}, what is not there yet"
    shell:
        "fgd data coco --out {params.root:q} --from {params.address:q} --report {output:q}"
        " > {log:q} 2>&1"


rule check_data:
    input:
        folder=lambda w: of(w, jobs.data_folder, w.split),
    output:
        "results/{suite}/data/{split}.json",
    log:
        "results/{suite}/logs/check_data/{split}.log",
    benchmark:
        "results/{suite}/benchmarks/check_data/{split}.tsv"
    # Everything else needs the data: if something is wrong with it, say so first.
    priority: 1
    container:
        image
    resources:
        mem_mb=by_size(2000, 8000),
        runtime=by_size(10, 60),
        slurm_partition=from_cluster("partition"),
        slurm_account=from_cluster("account"),
    params:
        annotations=lambda w: experiment(w.suite).splits[w.split].annotations,
        images=lambda w: experiment(w.suite).splits[w.split].images,
        options=lambda w: of(w, jobs.data_checks, w.split),
        changed=lambda w: of(w, jobs.data_changed, w.split),
    message:
        "Check the {wildcards.split} set of suite {wildcards.suite}"
    # What is asked of training images alone stands here: as a parameter it would be another one, and
    # what is finished would run again. So does what a config without classes means to mmdet.
    shell:
        "fgd data check {params.options} --coco-classes $([ {wildcards.split} = val ] || echo --training)"
        " --out {output:q}"
        " -- {params.annotations:q} {params.images:q} > {log:q} 2>&1"


rule train_backbone:
    output:
        "results/{suite}/training/backbones/{backbone}.pth",
    log:
        "results/{suite}/logs/train_backbone/{backbone}.log",
    benchmark:
        "results/{suite}/benchmarks/train_backbone/{backbone}.tsv"
    container:
        image
    resources:
        mem_mb=2000,
        runtime=20,
        slurm_partition=from_cluster("partition"),
        slurm_account=from_cluster("account"),
    params:
        iterations=lambda w: suite(w).mini.backbone.iterations,
        seed=lambda w: suite(w).seed,
    message:
        "Train {wildcards.backbone} as a classifier of digits"
    shell:
        "fgd mini-backbone {wildcards.backbone:q} --iterations {params.iterations}"
        " --seed {params.seed} --out {output:q} > {log:q} 2>&1"


rule publish_backbone:
    input:
        "results/{suite}/training/backbones/{backbone}.pth",
    output:
        "results/{suite}/zoo/backbones/{backbone}.yml",
    log:
        "results/{suite}/logs/publish_backbone/{backbone}.log",
    benchmark:
        "results/{suite}/benchmarks/publish_backbone/{backbone}.tsv"
    container:
        image
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        index=subpath(output[0], parent=True),
    message:
        "Publish {wildcards.backbone} in {params.index}"
    shell:
        "fgd publish {input:q} --name {wildcards.backbone:q} --index {params.index:q}"
        " > {log:q} 2>&1"


rule download_backbone:
    input:
        # Nothing is fetched for data that cannot be trained on.
        data=ancient("results/{suite}/data/train.json"),
        metafile=lambda w: of(w, jobs.metafile, "backbones", w.backbone),
        own=lambda w: of(w, jobs.own_backbone, w.backbone),
    output:
        "results/{suite}/backbones/{backbone}.pth",
    log:
        "results/{suite}/logs/download_backbone/{backbone}.log",
    benchmark:
        "results/{suite}/benchmarks/download_backbone/{backbone}.tsv"
    container:
        image
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        name=lambda w: experiment(w.suite).plan.backbones[w.backbone],
        index=lambda w: of(w, jobs.index, "backbones", w.backbone),
    message:
        "Download the backbone {params.name}"
    shell:
        "fgd download {params.name:q} {params.index} --out {output:q} > {log:q} 2>&1"
