"""The commands around the pipeline: send transactions, follow alerts, audit a run."""
