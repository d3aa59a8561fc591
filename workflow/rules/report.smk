"""What people look at: the table, pictures, figures for a paper, and a page of it all.

What is marked with `report` is also in Snakemake's own report: `snakemake --report report.html`.
"""


rule table:
    input:
        suite=lambda w: SUITE_FILES[w.suite],
        evaluations=lambda w: of(w, jobs.evaluations, w.table),
        checks=lambda w: of(w, jobs.teacher_checks, w.table),
    output:
        markdown="results/{suite}/{table}.md",
        csv=report(
            "results/{suite}/{table}.csv",
            caption="../report/table.rst",
            category="Results",
            labels={"content": "results table"},
        ),
        json="results/{suite}/{table}.json",
        latex="results/{suite}/{table}.tex",
    log:
        "results/{suite}/logs/{table}.log",
    benchmark:
        "results/{suite}/benchmarks/{table}.tsv"
    container:
        image
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        results=subpath(output.markdown, parent=True),
        out=subpath(output.markdown, strip_suffix=".md"),
        shown=lambda w: of(w, jobs.shown),
    message:
        "Write the table {output.markdown}"
    # The table itself goes to the terminal, errors to the log.
    shell:
        "fgd table {input.suite:q} --results {params.results:q} --out {params.out:q} 2> {log:q}"


rule pictures:
    input:
        unpack(lambda w: of(w, jobs.picture_files, w.row)),
        data="results/{suite}/data/val.json",
        # What the student started from: it is drawn before and after its training.
        backbone=lambda w: of(w, jobs.backbone, w.row),
    output:
        detections=report(
            "results/{suite}/pictures/{row}_detections.png",
            caption="../report/detections.rst",
            category="Pictures",
            subcategory="{row}",
            labels={"content": "detections"},
        ),
        attention=report(
            "results/{suite}/pictures/{row}_attention.png",
            caption="../report/attention.rst",
            category="Pictures",
            subcategory="{row}",
            labels={"content": "attention"},
        ),
    log:
        "results/{suite}/logs/pictures/{row}.log",
    benchmark:
        "results/{suite}/benchmarks/pictures/{row}.tsv"
    container:
        image
    resources:
        mem_mb=by_size(2000, 16000),
        runtime=by_size(10, 60),
        slurm_partition=from_cluster("partition"),
        slurm_account=from_cluster("account"),
    params:
        annotations=lambda w: experiment(w.suite).splits["val"].annotations,
        images=lambda w: of(w, jobs.picture_images),
        out=subpath(output.detections, strip_suffix="_detections.png"),
    message:
        "Draw the pictures of {wildcards.row} ({wildcards.suite})"
    # --data draws one more. It is no output: of finished rows it would be missing.
    shell:
        "fgd visualize {params.images} --annotations {params.annotations:q}"
        " --model Teacher {input.teacher_config:q} {input.teacher:q}"
        " --model Baseline {input.baseline_config:q} {input.baseline:q}"
        " --model FGD {input.fgd_config:q} {input.fgd:q}"
        " --distillation {input.config:q} {input.trained:q} --data"
        " --out {params.out:q} > {log:q} 2>&1"


rule figures:
    input:
        suite=lambda w: SUITE_FILES[w.suite],
        evaluations=lambda w: of(w, jobs.evaluations),
    output:
        pdf=[f"results/{{suite}}/figures/{name}.pdf" for name in FIGURES],
        svg=[
            report(
                f"results/{{suite}}/figures/{name}.svg",
                caption=f"../report/{name}.rst",
                category="Figures",
                labels={"content": words},
            )
            for name, words in FIGURES.items()
        ],
    log:
        "results/{suite}/logs/figures.log",
    benchmark:
        "results/{suite}/benchmarks/figures.tsv"
    container:
        image
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        results="results/{suite}",
        out="results/{suite}/figures",
        shown=lambda w: of(w, jobs.shown),
    message:
        "Draw the figures of suite {wildcards.suite}"
    shell:
        "fgd plot {input.suite:q} --results {params.results:q} --out {params.out:q} > {log:q} 2>&1"


rule page:
    input:
        suite=lambda w: SUITE_FILES[w.suite],
        table="results/{suite}/table.tex",
        figures=rules.figures.output,
        pictures=lambda w: of(w, jobs.pictures),
    output:
        "results/{suite}/index.html",
    log:
        "results/{suite}/logs/page.log",
    benchmark:
        "results/{suite}/benchmarks/page.tsv"
    container:
        image
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        results=subpath(output[0], parent=True),
        rows="",
        shown=lambda w: of(w, jobs.shown),
    message:
        "Write the page {output}"
    shell:
        "fgd report {input.suite:q} --results {params.results:q}{params.rows} --out {output:q}"
        " > {log:q} 2>&1"


use rule page as demo_page with:
    input:
        suite=lambda w: SUITE_FILES[w.suite],
        table="results/{suite}/demo.tex",
        pictures=lambda w: of(w, jobs.pictures, "demo"),
    output:
        "results/{suite}/demo.html",
    log:
        "results/{suite}/logs/demo_page.log",
    benchmark:
        "results/{suite}/benchmarks/demo_page.tsv"
    params:
        results=subpath(output[0], parent=True),
        rows="".join(f" --row {name}" for name in jobs.DEMO_ROWS),
        shown=lambda w: of(w, jobs.shown),


rule card:
    input:
        suite=lambda w: SUITE_FILES[w.suite],
        evaluations=lambda w: of(w, jobs.row_evaluations, w.row),
        data="results/{suite}/data/train.json",
    output:
        "results/{suite}/{row}/fgd/README.md",
    log:
        "results/{suite}/logs/card/{row}.log",
    benchmark:
        "results/{suite}/benchmarks/card/{row}.tsv"
    container:
        image
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        results=subpath(output[0], ancestor=3),
    message:
        "Write the model card of {wildcards.row} ({wildcards.suite})"
    shell:
        "fgd card {input.suite:q} {wildcards.row:q} --results {params.results:q} --out {output:q}"
        " > {log:q} 2>&1"
