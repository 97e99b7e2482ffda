from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.0")


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


# On a cluster these run where snakemake was started: they need the internet, or take no time.
localrules:
    all,
    catalog,
    download_tinystories,
    fetch_book,
    link,
    selection,


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
        "results/samples.txt",
        "results/evaluation.json",
        expand(PLOTS.values(), run=MAIN),
        PAGES.values(),
        "results/corpus.csv",
        "results/corpus.png",


onstart:
    try:
        lock_folder()
    except MinlmError as error:
        raise WorkflowError(str(error)) from None


onsuccess:
    forget(models_known_as_done(workflow.dag))


onerror:
    forget(models_known_as_done(workflow.dag))
