"""The benchmark harness: it runs `python -m mpinn.train` and reads its result files."""
