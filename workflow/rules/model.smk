# From tokens to a model, and what the model writes.

GPUS = 0 if TRAINING["device"] == "cpu" else TRAINING["devices"]


rule fit_bigram:
    input:
        RUNS.output_of("tokens", *shard_paths("data/{run_dir}tokens/train.npy", SHARDS)),
    output:
        "<results>/{run_dir}bigram.pt",
    log:
        "<logs>/{run_dir}fit_bigram.log",
    benchmark:
        "<benchmarks>/{run_dir}fit_bigram.tsv"
    wildcard_constraints:
        run_dir=RUNS.computing("bigram"),
    conda:
        "../../envs/minlm.yaml"
    threads: 16
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        vocab=RUNS.settings("tokenizer", "vocab_size"),
        model=RUNS.settings("model", "d_model"),
    message:
        "Fitting embeddings and head to the counts of token pairs."
    shell:
        "job python -m minlm.scripts.fit_bigram --tokens {input:q} {params.vocab} {params.model} --threads {threads}"
        " --output {output:q} --log_file {log:q}"


rule train:
    input:
        **TOKENIZER_FILES,
        train=RUNS.output_of("tokens", *shard_paths("data/{run_dir}tokens/train.npy", SHARDS)),
        valid=RUNS.output_of("tokens", "data/{run_dir}tokens/valid.npy"),
        masks=RUNS.masks("data/{run_dir}tokens/train.mask.npy", "data/{run_dir}tokens/valid.mask.npy"),
        bigram=RUNS.bigram_fit("<results>/{run_dir}bigram.pt"),
        init=RUNS.first_model(f"<results>/{{run_dir}}{USED_MODEL}"),
    output:
        model="<results>/{run_dir}model.pt",
        metrics="<results>/{run_dir}metrics.csv",
        kept=[f"<results>/{{run_dir}}{path}" for path in KEPT_MODELS.values()],
    log:
        "<logs>/{run_dir}train.log",
    benchmark:
        "<benchmarks>/{run_dir}train.tsv"
    wildcard_constraints:
        run_dir=RUNS.computing("model"),
    conda:
        "../../envs/minlm.yaml"
    threads: shared_threads(workflow, RUNS, "train")
    resources:
        mem_mb=8000,
        runtime=1440,
        gpu=GPUS,
    params:
        vocab=RUNS.settings("tokenizer", "vocab_size"),
        model=RUNS.settings("model"),
        training=RUNS.settings("training"),
        execution=RUNS.execution("training"),
        start=lambda wildcards, input: flags({"bigram_path": list(input.bigram), "init_from": list(input.init)}),
        torchrun=unrecorded(torchrun(TRAINING["devices"])),
    message:
        "Training the model."
    shell:
        # the state of an interrupted run is not an output, because Snakemake deletes the outputs of a job that failed
        "job python {params.torchrun} -m minlm.scripts.train --train_tokens {input.train:q} --val_tokens {input.valid:q}"
        " --masks {input.masks:q} --vocab_path {input.vocab:q} --merges_path {input.merges:q} {params.start}"
        " {params.vocab} {params.model} {params.training} {params.execution} --threads {threads}"
        " --checkpoint_path {output.model:q} --log_csv {output.metrics:q} --log_file {log:q}"


rule evaluate:
    input:
        **TOKENIZER_FILES,
        model=f"<results>/{{run_dir}}{USED_MODEL}",
        tokens=RUNS.output_of("tokens", "data/{run_dir}tokens/valid.npy"),
        text=RUNS.output_of("corpus", "data/{run_dir}corpus/valid.txt"),
        mask=RUNS.masks("data/{run_dir}tokens/valid.mask.npy"),
    output:
        report("<results>/{run_dir}evaluation.json", caption="../report/evaluation.rst", category="Evaluation"),
    log:
        "<logs>/{run_dir}evaluate.log",
    benchmark:
        "<benchmarks>/{run_dir}evaluate.tsv"
    wildcard_constraints:
        run_dir=RUNS.computing("model"),
    conda:
        "../../envs/minlm.yaml"
    threads: shared_threads(workflow, RUNS, "evaluate")
    resources:
        mem_mb=4000,
        runtime=60,
        gpu=GPUS,
    params:
        execution=RUNS.execution("training", "device"),
        torchrun=unrecorded(torchrun(TRAINING["devices"])),
    message:
        "Evaluating the model on the validation text."
    shell:
        "job python {params.torchrun} -m minlm.scripts.evaluate --checkpoint {input.model:q} --tokens {input.tokens:q}"
        " --text {input.text:q} --vocab_path {input.vocab:q} --merges_path {input.merges:q}"
        " --mask {input.mask:q} {params.execution} --threads {threads} --output {output:q} --log_file {log:q}"


# A model on the validation text of another run: what a tuned model has gained and forgotten.
use rule evaluate as evaluate_elsewhere with:
    input:
        **TOKENIZER_FILES,
        model=RUNS.output_of("model", f"<results>/{{run_dir}}{USED_MODEL}"),
        tokens=RUNS.output_of("tokens", "data/{run_dir}tokens/valid.npy", run="experiments/{text}/"),
        text=RUNS.output_of("corpus", "data/{run_dir}corpus/valid.txt", run="experiments/{text}/"),
        mask=RUNS.masks("data/{run_dir}tokens/valid.mask.npy", run="experiments/{text}/"),
    output:
        "<results>/{run_dir}on/{text}.json",
    log:
        "<logs>/{run_dir}evaluate_on_{text}.log",
    benchmark:
        "<benchmarks>/{run_dir}evaluate_on_{text}.tsv"
    wildcard_constraints:
        run_dir=any_of(RUNS),
        text="[^/]+",
    message:
        "Evaluating the model on the validation text of {wildcards.text}."


rule sample:
    input:
        **TOKENIZER_FILES,
        model=RUNS.output_of("model", f"<results>/{{run_dir}}{USED_MODEL}"),
    output:
        report("<results>/{run_dir}samples.txt", caption="../report/samples.rst", category="Samples"),
    log:
        "<logs>/{run_dir}sample.log",
    benchmark:
        "<benchmarks>/{run_dir}sample.tsv"
    wildcard_constraints:
        run_dir=RUNS.computing("samples"),
    conda:
        "../../envs/minlm.yaml"
    threads: shared_threads(workflow, RUNS, "sample")
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=lambda wildcards: [
            f"{s['temperature']}:{s['top_p'] or 'none'}" for s in RUNS[wildcards.run_dir]["sampling"]["settings"]
        ],
        flags=RUNS.settings("sampling", "prompts", "max_new_tokens", "seed"),
        execution=RUNS.execution("training", "device"),
    message:
        "Writing samples."
    shell:
        "job python -m minlm.scripts.sample --checkpoint {input.model:q} --vocab_path {input.vocab:q}"
        " --merges_path {input.merges:q} --settings {params.settings} {params.flags}"
        " {params.execution} --threads {threads} --output {output:q} --log_file {log:q}"
