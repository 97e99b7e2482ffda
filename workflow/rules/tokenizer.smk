# Text to tokens.


rule count_words:
    input:
        "data/{run}corpus/train.txt",
    output:
        "data/{run}tokenizer/word_counts{shard}.npz",
    log:
        "logs/{run}count_words{shard}.log",
    wildcard_constraints:
        shard=SHARD,
    cache: CACHE
    conda:
        "../../envs/minlm.yaml"
    threads: 16
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        shard=shard_flag,
    message:
        "Counting the pre-tokens of the training text {params.shard}."
    shell:
        "job python -m minlm.scripts.count_words --inputs {input:q} {params.shard} --threads {threads}"
        " --output {output:q} --log_file {log:q}"


if SHARDS > 1:

    rule merge_counts:
        input:
            whole_or_shards("data/{run}tokenizer/word_counts.npz"),
        output:
            "data/{run}tokenizer/word_counts.npz",
        log:
            "logs/{run}merge_counts.log",
        benchmark:
            "logs/benchmarks/{run}merge_counts.tsv"
        conda:
            "../../envs/minlm.yaml"
        threads: 1
        resources:
            mem_mb=2000,
            runtime=60,
        message:
            "Adding up the counts of the shards."
        shell:
            "job python -m minlm.scripts.count_words --inputs {input:q} --output {output:q} --log_file {log:q}"


rule train_tokenizer:
    input:
        made("corpus", "data/{run}tokenizer/word_counts.npz"),
    output:
        **VOCAB,
    log:
        "logs/{run}train_tokenizer.log",
    cache: CACHE
    conda:
        "../../envs/minlm.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        flags=settings("tokenizer", "vocab_size"),
    message:
        "Training a tokenizer ({params.flags})."
    shell:
        "job python -m minlm.scripts.train_tokenizer {input:q} {params.flags} --prefix ''"
        ' --output_dir "$(dirname {output.vocab:q})" --log_file {log:q}'


rule tokenize:
    input:
        **TOKENIZER_FILES,
        text=made("corpus", "data/{run}corpus/{split}.txt"),
    output:
        "data/{run}tokens/{split}{shard}.npy",
    log:
        "logs/{run}tokenize_{split}{shard}.log",
    wildcard_constraints:
        split="train|valid",
        shard=f"({SHARD})?",
    cache: CACHE
    conda:
        "../../envs/minlm.yaml"
    threads: lambda wildcards: 16 if wildcards.split == "train" else 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        split="{split}",  # no flag, but the cache knows jobs by their params
        shard=shard_flag,
        flags=settings("tokenizer", "output_dtype"),
    message:
        "Turning the {wildcards.split} text into tokens {params.shard}."
    shell:
        "job python -m minlm.scripts.tokenize --inputs {input.text:q} --vocab_path {input.vocab:q}"
        " --merges_path {input.merges:q} {params.shard} {params.flags} --threads {threads}"
        ' --output_dir "$(dirname {output:q})" --log_file {log:q}'
