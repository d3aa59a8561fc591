"""The results table."""


rule table:
    input:
        suite=lambda wildcards: SUITE_FILES[wildcards.suite],
        evaluations=evaluations,
    output:
        markdown="results/{suite}/{table}.md",
        csv="results/{suite}/{table}.csv",
        json="results/{suite}/{table}.json",
    log:
        "results/{suite}/logs/{table}.log",
    benchmark:
        "results/{suite}/benchmarks/{table}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        results=subpath(output.markdown, parent=True),
        out=subpath(output.markdown, strip_suffix=".md"),
    message:
        "Write the table {output.markdown}"
    # The table itself goes to the terminal, errors to the log.
    shell:
        "fgd table {input.suite:q} --results {params.results:q} --out {params.out:q} 2> {log:q}"
