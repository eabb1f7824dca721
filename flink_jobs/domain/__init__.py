"""What a transaction, a feature and a score are; shared by serving and training.

Imports neither pyflink nor pandas, and talks to nobody: every rule here runs alike in a TaskManager, in
training and in a test. What talks to MinIO is `flink_jobs.store`.
"""
