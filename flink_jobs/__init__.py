"""Flink jobs: score every transaction, and keep every transaction in the lake."""

import os

# onnxruntime, from 1.29 on, tells its maker about models and machine unless this is set before it is imported
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
