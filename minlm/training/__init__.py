"""A training run that survives interruption: state, resume, signals, processes, metrics, evaluation."""
