"""Public infilling benchmarks against a running service; `python -m training.benchmarks --help`."""
