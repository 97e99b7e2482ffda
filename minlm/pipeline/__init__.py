"""What the Snakefile imports: configuration, experiments, helpers of the rules. Nothing heavy."""
