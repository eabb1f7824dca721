"""Flink jobs: score every transaction, and keep every transaction in the lake."""
