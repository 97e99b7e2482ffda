# Ancient books from Project Gutenberg: the catalog, a selection, a file for each book, cleaning, documents.


rule catalog:
    output:
        "data/ancients/catalog.jsonl",
    log:
        "logs/catalog.log",
    benchmark:
        "logs/benchmarks/catalog.tsv"
    conda:
        "../../envs/minlm.yaml"
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        flags=RUNS.settings("ancients", "gutendex_url", "author_year_end", "languages"),
        execution=RUNS.execution("ancients", "request_delay"),
    message:
        "Reading the Gutendex catalog of ancient authors."
    shell:
        "job python -m minlm.scripts.catalog {params.flags} {params.execution}"
        " --output {output:q} --log_file {log:q}"


checkpoint selection:
    input:
        "data/ancients/catalog.jsonl",
    output:
        csv="data/ancients/selection.csv",
    log:
        "logs/selection.log",
    benchmark:
        "logs/benchmarks/selection.tsv"
    conda:
        "../../envs/minlm.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        flags=RUNS.settings("ancients", "author_year_end", "max_books", "include", "exclude", "gutendex_url"),
        execution=RUNS.execution("ancients", "request_delay"),
    message:
        "Choosing the books."
    shell:
        "job python -m minlm.scripts.selection --catalog {input:q} {params.flags} {params.execution}"
        " --books_dir data/ancients/books --output {output.csv:q} --log_file {log:q}"


rule fetch_book:
    input:
        # with ancient(), a new selection does not fetch the books of the old one again
        selection=ancient("data/ancients/selection.csv"),
    output:
        "data/ancients/books/{id}.txt",
    log:
        "logs/books/fetch_{id}.log",
    benchmark:
        "logs/benchmarks/books/fetch_{id}.tsv"
    wildcard_constraints:
        id=r"\d+",
    conda:
        "../../envs/minlm.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        execution=RUNS.execution("ancients", "request_delay"),
    message:
        "Fetching book {wildcards.id}."
    shell:
        "job python -m minlm.scripts.fetch_book --selection {input.selection:q} --gutenberg_id {wildcards.id}"
        " {params.execution} --output {output:q} --log_file {log:q}"


rule clean_book:
    input:
        "data/ancients/books/{id}.txt",
    output:
        "data/ancients/clean/{id}.txt",
    log:
        "logs/books/clean_{id}.log",
    benchmark:
        "logs/benchmarks/books/clean_{id}.tsv"
    wildcard_constraints:
        id=r"\d+",
    group:
        "clean_books"
    conda:
        "../../envs/minlm.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        flags=flags({"light": ANCIENTS["light_cleaning"], "keep_typography": ANCIENTS["keep_typography"]}),
    message:
        "Cleaning book {wildcards.id}."
    shell:
        "job python -m minlm.scripts.clean_book --input {input:q} {params.flags} --output {output:q} --log_file {log:q}"


rule build_ancients:
    input:
        lambda wildcards: expand("data/ancients/clean/{id}.txt", id=kept_books(checkpoints.selection.get().output.csv)),
    output:
        train="data/ancients/train.txt",
        valid="data/ancients/valid.txt",
    log:
        "logs/build_ancients.log",
    benchmark:
        "logs/benchmarks/build_ancients.tsv"
    conda:
        "../../envs/minlm.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        flags=RUNS.settings("ancients", "min_words", "max_words", "valid_fraction", "max_failed"),
        seed=CORPUS["seed"],
    message:
        "Cutting the books into documents."
    shell:
        "job python -m minlm.scripts.build_ancients --inputs {input:q} {params.flags} --seed {params.seed}"
        " --output_train {output.train:q} --output_valid {output.valid:q} --log_file {log:q}"
