# The corpus: text from one of four sources, and the mix that the tokenizer and the model see.


rule sample_corpus:
    output:
        train="data/sample/train.txt",
        valid="data/sample/valid.txt",
    log:
        "logs/sample_corpus.log",
    benchmark:
        "logs/benchmarks/sample_corpus.tsv"
    conda:
        "../../envs/minlm.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        flags=RUNS.settings("corpus.sample"),
    message:
        "Writing the sample corpus, the Bible in Basic English."
    shell:
        "job python -m minlm.scripts.sample_corpus {params.flags}"
        " --output_train {output.train:q} --output_valid {output.valid:q} --log_file {log:q}"


rule download_tinystories:
    output:
        "data/tinystories/{split}.txt",
    log:
        "logs/download_tinystories_{split}.log",
    wildcard_constraints:
        split="train|valid",
    cache: CACHE
    conda:
        "../../envs/minlm.yaml"
    resources:
        mem_mb=1000,
        runtime=240,
    params:
        flags=lambda wildcards: flags(
            {name: CORPUS["tinystories"][f"{wildcards.split}_{name}"] for name in ("url", "sha256")}
        ),
    message:
        "Downloading TinyStories ({wildcards.split})."
    shell:
        "job python -m minlm.scripts.download {params.flags} --output {output:q} --log_file {log:q}"


URLS = {split: downloads(CORPUS["urls"][split]) for split in ("train", "valid")}
DOWNLOADS = URLS["train"] | URLS["valid"]


rule download_url:
    output:
        "{path}",
    log:
        "logs/{path}.log",
    wildcard_constraints:
        path=any_of(DOWNLOADS),
    cache: CACHE
    conda:
        "../../envs/minlm.yaml"
    resources:
        mem_mb=1000,
        runtime=240,
    params:
        flags=lambda wildcards: flags(DOWNLOADS[wildcards.path]),
    message:
        "Downloading {params.flags}."
    shell:
        "job python -m minlm.scripts.download {params.flags} --output {output:q} --log_file {log:q}"


# Snakemake takes {a} in a file's name for a wildcard, so `params` track changes of such files.
FILES = {
    "files": {split: expand_globs(CORPUS["files"][split]) for split in ("train", "valid")},
    "urls": {split: list(paths) for split, paths in URLS.items()},
}
BRACES = [path for paths in FILES["files"].values() for path in paths if "{" in path]


rule collect_files:
    input:
        train=lambda wildcards: [path for path in FILES[wildcards.source]["train"] if path not in BRACES],
        valid=lambda wildcards: [path for path in FILES[wildcards.source]["valid"] if path not in BRACES],
    output:
        train="data/{source}/train.txt",
        valid="data/{source}/valid.txt",
    log:
        "logs/collect_{source}.log",
    benchmark:
        "logs/benchmarks/collect_{source}.tsv"
    wildcard_constraints:
        source=any_of(FILES),
    conda:
        "../../envs/minlm.yaml"
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        flags=RUNS.settings("corpus.files", "valid_fraction", "documents", "text_field"),
        files=lambda wildcards: flags(FILES[wildcards.source]),
        changed=lambda wildcards: [
            f"{path} {os.stat(path).st_mtime_ns}" for path in BRACES if wildcards.source == "files"
        ],
        seed=CORPUS["seed"],
    message:
        "Collecting the text of your files."
    shell:
        "job python -m minlm.scripts.collect_files {params.files} {params.flags}"
        " --seed {params.seed} --output_train {output.train:q} --output_valid {output.valid:q} --log_file {log:q}"


rule collect_chat:
    input:
        train=expand_globs(CORPUS["chat"]["train"]),
        valid=expand_globs(CORPUS["chat"]["valid"]),
    output:
        train="data/chat/train.jsonl",
        valid="data/chat/valid.jsonl",
        texts=["data/chat/train.txt", "data/chat/valid.txt"],
    log:
        "logs/collect_chat.log",
    benchmark:
        "logs/benchmarks/collect_chat.tsv"
    conda:
        "../../envs/minlm.yaml"
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        files=lambda wildcards, input: flags({"train": list(input.train), "valid": list(input.valid)}),
        flags=RUNS.settings("corpus.chat", "valid_fraction"),
        seed=CORPUS["seed"],
    message:
        "Collecting your conversations."
    shell:
        "job python -m minlm.scripts.collect_chat {params.files} {params.flags} --seed {params.seed}"
        ' --output_folder "$(dirname {output.train:q})" --log_file {log:q}'


rule mix:
    input:
        train=lambda wildcards: f"data/{RUNS[wildcards.run_dir]['corpus']['source']}/train.txt",
        valid=lambda wildcards: f"data/{RUNS[wildcards.run_dir]['corpus']['source']}/valid.txt",
        ancients=lambda wildcards: expand(
            "data/ancients/{split}.txt",
            split=["train", "valid"] if RUNS[wildcards.run_dir]["ancients"]["share"] > 0 else [],
        ),
    output:
        train="data/{run_dir}corpus/train.txt",
        valid="data/{run_dir}corpus/valid.txt",
        record="data/{run_dir}corpus/mixture.json",
    log:
        "logs/{run_dir}mix.log",
    benchmark:
        "logs/benchmarks/{run_dir}mix.tsv"
    conda:
        "../../envs/minlm.yaml"
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        ancients=lambda wildcards, input: flags(dict(zip(["ancients_train", "ancients_valid"], input.ancients))),
        share=lambda wildcards: RUNS[wildcards.run_dir]["ancients"]["share"],
        flags=RUNS.settings("corpus", "target_total_words", "seed"),
    message:
        "Putting the corpus together (ancient books: {params.share:.0%} of the words)."
    shell:
        "job python -m minlm.scripts.mix --base_train {input.train:q} --base_valid {input.valid:q}"
        " {params.ancients} --share {params.share} {params.flags}"
        " --output_train {output.train:q} --output_valid {output.valid:q} --output_record {output.record:q}"
        " --log_file {log:q}"


# The name and the folder of each corpus in the report, the mix last. If nothing is mixed, data/corpus is the source.
REPORTED = {CORPUS["source"]: "data/corpus"}
if ANCIENTS["share"] > 0 or CORPUS["target_total_words"] is not None:
    BOOKS = {"ancients": "data/ancients"} if ANCIENTS["share"] > 0 else {}
    REPORTED = {CORPUS["source"]: f"data/{CORPUS['source']}", **BOOKS, "mix": "data/corpus"}


rule corpus_report:
    input:
        texts=expand("{folder}/{split}.txt", folder=REPORTED.values(), split=["train", "valid"]),
        record="data/corpus/mixture.json",
        vocab="data/tokenizer/vocab.json",
        merges="data/tokenizer/merges.txt",
    output:
        csv=report("<results>/corpus.csv", caption="../report/corpus.rst", category="Corpus"),
        png=report("<results>/corpus.png", caption="../report/corpus.rst", category="Corpus"),
    log:
        "<logs>/corpus_report.log",
    benchmark:
        "<benchmarks>/corpus_report.tsv"
    conda:
        "../../envs/minlm.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        corpora=[f"{name}={folder}" for name, folder in REPORTED.items()],
    message:
        "Counting what the corpus holds."
    shell:
        "job python -m minlm.scripts.corpus_report --corpora {params.corpora} --mixture {input.record:q}"
        " --vocab_path {input.vocab:q} --merges_path {input.merges:q} --threads {threads}"
        " --output_csv {output.csv:q} --output_png {output.png:q} --log_file {log:q}"
