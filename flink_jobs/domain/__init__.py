"""What a transaction, a feature and a score are; shared by serving and training.

Imports neither pyflink nor pandas, so that every rule here runs alike in a TaskManager, in
training and in a test.
"""
