# Tokens to a model, and the model's texts.


rule train:
    input:
        **TOKENIZER_FILES,
        train=made("tokens", whole_or_shards("data/{run}tokens/train.npy")),
        valid=made("tokens", "data/{run}tokens/valid.npy"),
    output:
        model="results/{run}model.pt",
        metrics="results/{run}metrics.csv",
    log:
        "logs/{run}train.log",
    benchmark:
        "logs/benchmarks/{run}train.tsv"
    wildcard_constraints:
        run=computes("model"),
    conda:
        "../../envs/minlm.yaml"
    threads: shared_threads("train")
    resources:
        mem_mb=8000,
        runtime=1440,
        gpu=0 if TRAINING["device"] == "cpu" else TRAINING["devices"],
    params:
        vocab=settings("tokenizer", "vocab_size"),
        model=settings("model"),
        training=settings("training"),
    message:
        "Training the model."
    shell:
        # the state of an interrupted run is no output: Snakemake deletes the outputs of a job that failed
        "job {PYTHON} -m minlm.scripts.train --train_tokens {input.train:q} --val_tokens {input.valid:q}"
        " --vocab_path {input.vocab:q} --merges_path {input.merges:q} {params.vocab} {params.model} {params.training}"
        " {COMPUTING} --threads {threads}"
        " --checkpoint_path {output.model:q} --log_csv {output.metrics:q} --log_file {log:q}"


rule evaluate:
    input:
        **TOKENIZER_FILES,
        model="results/{run}model.pt",
        tokens=made("tokens", "data/{run}tokens/valid.npy"),
        text=made("corpus", "data/{run}corpus/valid.txt"),
    output:
        report("results/{run}evaluation.json", caption="../report/evaluation.rst", category="Evaluation"),
    log:
        "logs/{run}evaluate.log",
    benchmark:
        "logs/benchmarks/{run}evaluate.tsv"
    wildcard_constraints:
        run=computes("model"),
    conda:
        "../../envs/minlm.yaml"
    threads: shared_threads("evaluate")
    resources:
        mem_mb=4000,
        runtime=60,
    message:
        "Evaluating the model on the validation text."
    shell:
        "job python -m minlm.scripts.evaluate --checkpoint {input.model:q} --tokens {input.tokens:q}"
        " --text {input.text:q} --vocab_path {input.vocab:q} --merges_path {input.merges:q}"
        " {DEVICE} --threads {threads} --output {output:q} --log_file {log:q}"


rule sample:
    input:
        **TOKENIZER_FILES,
        model=made("model", "results/{run}model.pt"),
    output:
        report("results/{run}samples.txt", caption="../report/samples.rst", category="Samples"),
    log:
        "logs/{run}sample.log",
    benchmark:
        "logs/benchmarks/{run}sample.tsv"
    wildcard_constraints:
        run=computes("samples"),
    conda:
        "../../envs/minlm.yaml"
    threads: shared_threads("sample")
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=lambda wildcards: [
            f"{s['temperature']}:{s['top_p'] or 'none'}" for s in RUNS[wildcards.run]["sampling"]["settings"]
        ],
        flags=settings("sampling", "prompts", "max_new_tokens", "seed"),
    message:
        "Writing samples."
    shell:
        "job python -m minlm.scripts.sample --checkpoint {input.model:q} --vocab_path {input.vocab:q}"
        " --merges_path {input.merges:q} --settings {params.settings} {params.flags}"
        " {DEVICE} --threads {threads} --output {output:q} --log_file {log:q}"
