# From text to tokens.

WORDS = ("pattern", "special_tokens")  # what words are


rule count_words:
    input:
        RUNS.output_of("corpus", "data/{run_dir}corpus/train.txt"),
    output:
        "data/{run_dir}tokenizer/word_counts{shard}.npz",
    log:
        "logs/{run_dir}count_words{shard}.log",
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
        shard=lambda wildcards: shard_flag(wildcards.shard),
        flags=RUNS.settings("tokenizer", *WORDS),
    message:
        "Counting the pre-tokens of the training text {params.shard}."
    shell:
        "job python -m minlm.scripts.count_words --inputs {input:q} {params.shard} {params.flags}"
        " --threads {threads} --output {output:q} --log_file {log:q}"


if SHARDS > 1:

    rule merge_counts:
        input:
            shard_paths("data/{run_dir}tokenizer/word_counts.npz", SHARDS),
        output:
            "data/{run_dir}tokenizer/word_counts.npz",
        log:
            "logs/{run_dir}merge_counts.log",
        benchmark:
            "logs/benchmarks/{run_dir}merge_counts.tsv"
        conda:
            "../../envs/minlm.yaml"
        resources:
            mem_mb=2000,
            runtime=60,
        params:
            flags=RUNS.settings("tokenizer", *WORDS),
        message:
            "Adding up the counts of the shards."
        shell:
            "job python -m minlm.scripts.count_words --inputs {input:q} {params.flags}"
            " --output {output:q} --log_file {log:q}"


rule train_tokenizer:
    input:
        RUNS.output_of("words", "data/{run_dir}tokenizer/word_counts.npz"),
    output:
        **VOCAB,
    log:
        "logs/{run_dir}train_tokenizer.log",
    cache: CACHE
    conda:
        "../../envs/minlm.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        flags=RUNS.settings("tokenizer", "vocab_size", *WORDS),
    message:
        "Training a tokenizer ({params.flags})."
    shell:
        "job python -m minlm.scripts.train_tokenizer {input:q} {params.flags} --prefix ''"
        ' --output_dir "$(dirname {output.vocab:q})" --log_file {log:q}'


rule tokenize:
    input:
        **TOKENIZER_FILES,
        text=RUNS.output_of("corpus", "data/{run_dir}corpus/{split}.txt"),
    output:
        "data/{run_dir}tokens/{split}{shard}.npy",
    log:
        "logs/{run_dir}tokenize_{split}{shard}.log",
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
        split="{split}",  # not a flag: the cache tells jobs apart by their params
        shard=lambda wildcards: shard_flag(wildcards.shard),
        flags=RUNS.settings("tokenizer", "output_dtype"),
    message:
        "Turning the {wildcards.split} text into tokens {params.shard}."
    shell:
        "job python -m minlm.scripts.tokenize --inputs {input.text:q} --vocab_path {input.vocab:q}"
        " --merges_path {input.merges:q} {params.shard} {params.flags} --threads {threads}"
        ' --output_dir "$(dirname {output:q})" --log_file {log:q}'


CHATS = [run for run in RUNS if RUNS.is_chat(run)]

if CHATS:

    ruleorder: tokenize_chat > tokenize

    rule tokenize_chat:
        input:
            **TOKENIZER_FILES,
            chat="data/chat/{split}.jsonl",
        output:
            tokens="data/{run_dir}tokens/{split}.npy",
            mask="data/{run_dir}tokens/{split}.mask.npy",
        log:
            "logs/{run_dir}tokenize_chat_{split}.log",
        wildcard_constraints:
            run_dir=any_of(CHATS),
            split="train|valid",
        conda:
            "../../envs/minlm.yaml"
        resources:
            mem_mb=4000,
            runtime=120,
        params:
            flags=RUNS.settings("tokenizer", "output_dtype"),
        message:
            "Turning the {wildcards.split} conversations into tokens."
        shell:
            "job python -m minlm.scripts.tokenize_chat --input {input.chat:q} --vocab_path {input.vocab:q}"
            " --merges_path {input.merges:q} {params.flags}"
            ' --output_dir "$(dirname {output.tokens:q})" --log_file {log:q}'
