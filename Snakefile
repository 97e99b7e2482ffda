# From text to a language model, configured by config.yaml. docs/architecture.md has a picture of the rules.

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.20")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/corpus.smk"
include: "workflow/rules/ancients.smk"
include: "workflow/rules/tokenizer.smk"
include: "workflow/rules/model.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/export.smk"


rule all:
    default_target: True
    input:
        "<results>/samples.txt",
        "<results>/evaluation.json",
        expand(PLOTS.values(), run_dir=MAIN),
        PAGES.values(),
        "<results>/corpus.csv",
        "<results>/corpus.png",


# On a cluster, these rules run on the machine of the `snakemake` call: they need the internet or take no time.
localrules:
    all,
    catalog,
    download_tinystories,
    download_url,
    fetch_book,
    link,
    selection,


onstart:
    try:
        lock_folder()
    except MinlmError as error:
        raise WorkflowError(str(error)) from None
    for note in replaced_models(workflow.dag):
        logger.warning(note)


# Snakemake has noted which trainings are finished, so the trainers' own records are no longer needed.
onsuccess:
    forget(finished_models(workflow.dag))
    if TERMINAL:
        TERMINAL.succeeded(f"{RESULTS}/")


onerror:
    forget(finished_models(workflow.dag))
