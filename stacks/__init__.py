"""ZenML around the pipelines: its quiet and quick start, the stack files, runs that died."""
