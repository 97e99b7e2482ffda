# Pages and pictures of a run, and the comparison of several runs.

PLOTS = {name: f"<results>/{{run_dir}}plots/{name}.png" for name in ("loss_vs_iter", "loss_vs_time", "speed_vs_iter")}


rule plot:
    input:
        "<results>/{run_dir}metrics.csv",
    output:
        **{name: report(path, caption=f"../report/{name}.rst", category="Training") for name, path in PLOTS.items()},
    log:
        "<logs>/{run_dir}plot.log",
    benchmark:
        "<benchmarks>/{run_dir}plot.tsv"
    wildcard_constraints:
        run_dir=RUNS.computing("model"),
    conda:
        "../../envs/minlm.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "Drawing the training curves."
    shell:
        "job python -m minlm.scripts.plot --metrics {input:q}"
        ' --output_dir "$(dirname {output.loss_vs_iter:q})" --log_file {log:q}'


PAGES = {
    name: f"<results>/report/{name}.html"
    for name in ("summary", "corpus", "tokenizer", "evaluation", "samples", "environment")
}


rule report_pages:
    input:
        vocab="data/tokenizer/vocab.json",
        merges="data/tokenizer/merges.txt",
        model=f"<results>/{USED_MODEL}",
        corpus="<results>/corpus.csv",
        metrics="<results>/metrics.csv",
        loss_curve="<results>/plots/loss_vs_iter.png",
        evaluation="<results>/evaluation.json",
        samples="<results>/samples.txt",
    output:
        **{
            name: report(path, caption=f"../report/{name}.rst", category=name.capitalize())
            for name, path in PAGES.items()
        },
    log:
        "<logs>/report_pages.log",
    benchmark:
        "<benchmarks>/report_pages.tsv"
    conda:
        "../../envs/minlm.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=lambda wildcards: text_settings(RUNS[MAIN]),
        unused=unrecorded(" ".join(unused_settings(RUNS[MAIN]))),
    message:
        "Writing pages for the report."
    shell:
        "job python -m minlm.scripts.report_pages --checkpoint {input.model:q}"
        " --vocab_path {input.vocab:q} --merges_path {input.merges:q} --corpus {input.corpus:q}"
        " --metrics {input.metrics:q} --loss_curve {input.loss_curve:q}"
        " --evaluation {input.evaluation:q} --samples {input.samples:q}"
        " --settings {params.settings:q} --unused {params.unused}"
        ' --output_dir "$(dirname {output.tokenizer:q})" --log_file {log:q}'


# A run that does not compute a stage itself has links to the files of the run that does.
LINKED = {
    "model": [*MODELS.values(), "metrics.csv", "evaluation.json", *(f"plots/{name}.png" for name in PLOTS)],
    "samples": ["samples.txt"],
}
LINKS = {
    f"{RESULTS}/{run}{name}": f"{RESULTS}/{source}{name}"
    for stage, names in LINKED.items()
    for run, source in RUNS.computed_by[stage].items()
    for name in names
    if run != source
}


rule link:
    input:
        lambda wildcards: LINKS[wildcards.link],
    output:
        "{link}",
    log:
        "logs/links/{link}.log",
    benchmark:
        "logs/benchmarks/links/{link}.tsv"
    wildcard_constraints:
        link=any_of(LINKS or ["(none)"]),
    conda:
        "../../envs/minlm.yaml"
    resources:
        mem_mb=100,
        runtime=5,
    params:
        target=lambda wildcards, input, output: link_target(input[0], output[0]),
    message:
        "Linking {output} to {input}: the settings are the same."
    shell:
        "ln -sf {params.target:q} {output:q} 2> {log:q}"


VARIANTS = [run for run in RUNS if run != MAIN]
NAMES = {run: run.split("/")[1] for run in VARIANTS}
TUNED = RUNS.tuned()


rule compare:
    input:
        evaluations=[f"<results>/{run}evaluation.json" for run in VARIANTS],
        metrics=[f"<results>/{run}metrics.csv" for run in VARIANTS],
        samples=[f"<results>/{run}samples.txt" for run in VARIANTS],
        gained=[f"<results>/{parent}on/{NAMES[run]}.json" for run, parent in TUNED.items()],
        forgotten=[f"<results>/{run}on/{NAMES[parent]}.json" for run, parent in TUNED.items()],
    output:
        html=report("<results>/comparison.html", caption="../report/comparison.rst", category="Experiments"),
        png="<results>/comparison.png",
        csv="<results>/comparison.csv",
    log:
        "<logs>/compare.log",
    benchmark:
        "<benchmarks>/compare.tsv"
    conda:
        "../../envs/minlm.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        runs=[f"{RESULTS}/{run}".rstrip("/") for run in VARIANTS],
        settings=lambda wildcards: [differences(config, RUNS[run]) for run in VARIANTS],
        groups=lambda wildcards: [NAMES[run] for run in replicates({run: RUNS[run] for run in VARIANTS}).values()],
        tuned=lambda wildcards: flags({"tuned": [f"{NAMES[run]}:{NAMES[parent]}" for run, parent in TUNED.items()]}),
    message:
        "Comparing {params.runs}."
    shell:
        "job python -m minlm.scripts.compare --runs {params.runs:q} --settings {params.settings:q}"
        " --groups {params.groups:q} {params.tuned}"
        " --output_html {output.html:q} --output_png {output.png:q} --output_csv {output.csv:q} --log_file {log:q}"
