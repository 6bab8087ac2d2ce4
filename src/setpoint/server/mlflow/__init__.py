"""MLflow's REST interface over our own records: its unmodified clients log and read here.

Nothing is kept twice. Experiments, runs, metrics and their artifacts are those of `runs`;
only what MLflow alone knows (logged models, traces) has tables of its own.
"""
