# From a teacher's address to the results table. `snakemake -n` plans the whole of it.
#
#   snakemake --profile slurm                                         the eight rows on COCO, on Slurm
#   snakemake --profile cluster/profiles/local                        the eight rows on COCO
#   snakemake --profile cluster/profiles/local --config suite=mini    the same on the mini set
#   snakemake --profile cluster/profiles/local results/mini/fcos_r50/fgd/eval.json
#
# A suite is a file of configs/suites, or any YAML file of that form. Everything that a suite
# produces lies in results/<suite>/, and every file there can be asked for by its path.


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/teacher.smk"
include: "workflow/rules/distill.smk"
include: "workflow/rules/transfer.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


onstart:
    # Without a training's own; launchers check again, before they submit.
    container_settings = cluster_settings.in_container(experiment(SUITE).suite)
    explained(container.check, container_settings)
    if note := explained(container.note, container_settings, experiment(SUITE)):
        logger.warning(note)
    if workflow.executor_plugin.name == "slurm":
        from snakemake_executor_plugin_slurm.accounts import test_account

        explained(
            accounts.check,
            experiment(SUITE).suite,
            SUITE_FILES[SUITE],
            lambda account: test_account(account, logger),
        )
        if note := environment.note_on_single_jobs():
            logger.warning(note)


# On a cluster these run on the login node: they wait for a job of their own (the launcher's), need
# the network, which compute nodes often lack, or take seconds.
localrules:
    all,
    demo,
    distill,
    baseline,
    train_teacher,
    write_mini_set,
    download_coco,
    download_backbone,
    download_teacher,
    publish_backbone,
    publish_teacher,
    compose,
    compose_teacher,
    table,
    figures,
    page,
    demo_page,


rule all:
    default_target: True
    input:
        f"results/{SUITE}/table.md",
        f"results/{SUITE}/index.html",
    message:
        "The results: {input}"


rule demo:
    input:
        table="results/mini/demo.md",
        page="results/mini/demo.html",
    message:
        "The demo's table is {input.table}, its page {input.page}; `make mini` trains all rows"
