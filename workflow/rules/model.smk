# Tokens to a model, and the model's texts.


rule train:
    input:
        **VOCAB,
        train="data/tokens/train.npy",
        valid="data/tokens/valid.npy",
    output:
        model="results/model.pt",
        metrics="results/metrics.csv",
    log:
        "logs/train.log",
    benchmark:
        "logs/benchmarks/train.tsv"
    conda:
        "../../envs/minlm.yaml"
    threads: 16
    resources:
        mem_mb=8000,
        runtime=1440,
    params:
        vocab=flags(TOKENIZER, "vocab_size"),
        model=flags(MODEL),
        training=flags({k: v for k, v in TRAINING.items() if k not in ("device", "log_to_wandb", "save_interval")}),
    message:
        "Training the model."
    shell:
        # the state of an interrupted run is no output: Snakemake deletes the outputs of a job that failed
        "exec python -m minlm.scripts.train --train_tokens {input.train} --val_tokens {input.valid}"
        " --vocab_path {input.vocab} --merges_path {input.merges} {params.vocab} {params.model} {params.training}"
        " {SAVING} {DEVICE} {WANDB} --threads {threads}"
        " --checkpoint_path {output.model} --log_csv {output.metrics} --log_file {log}"


rule evaluate:
    input:
        **VOCAB,
        model="results/model.pt",
        tokens="data/tokens/valid.npy",
        text="data/corpus/valid.txt",
    output:
        "results/evaluation.json",
    log:
        "logs/evaluate.log",
    benchmark:
        "logs/benchmarks/evaluate.tsv"
    conda:
        "../../envs/minlm.yaml"
    threads: 16
    resources:
        mem_mb=4000,
        runtime=60,
    message:
        "Evaluating the model on the validation text."
    shell:
        "exec python -m minlm.scripts.evaluate --checkpoint {input.model} --tokens {input.tokens} --text {input.text}"
        " --vocab_path {input.vocab} --merges_path {input.merges} {DEVICE} --threads {threads}"
        " --output {output} --log_file {log}"


rule sample:
    input:
        **VOCAB,
        model="results/model.pt",
    output:
        "results/samples.txt",
    log:
        "logs/sample.log",
    benchmark:
        "logs/benchmarks/sample.tsv"
    conda:
        "../../envs/minlm.yaml"
    threads: 16
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=[f"{s['temperature']}:{s['top_p'] or 'none'}" for s in SAMPLING["settings"]],
        flags=flags(SAMPLING, "prompts", "max_new_tokens", "seed"),
    message:
        "Writing samples."
    shell:
        "exec python -m minlm.scripts.sample --checkpoint {input.model} --vocab_path {input.vocab}"
        " --merges_path {input.merges} --settings {params.settings} {params.flags}"
        " {DEVICE} --threads {threads} --output {output} --log_file {log}"
