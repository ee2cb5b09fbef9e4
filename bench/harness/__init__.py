"""Run a suite: points in order, each measured, compared with the serial oracle, judged and recorded."""
