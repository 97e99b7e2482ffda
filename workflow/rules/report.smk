# Pictures of a run.


rule plot:
    input:
        "results/metrics.csv",
    output:
        **PLOTS,
    log:
        "logs/plot.log",
    benchmark:
        "logs/benchmarks/plot.tsv"
    conda:
        "../../envs/minlm.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "Drawing the training curves."
    shell:
        "exec python -m minlm.scripts.plot --metrics {input} --output_dir $(dirname {output.loss_vs_iter}) --log_file {log}"
