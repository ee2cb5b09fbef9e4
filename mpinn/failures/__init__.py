"""Failures as they are seen from outside of training: heartbeats, ranks that stop answering, jobs to start again."""
