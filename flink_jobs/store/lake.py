"""What lies where in the lake."""

# folders of the bucket, each with a folder a day of Kafka's clock (UTC)
TRANSACTIONS_FOLDER = "raw/transactions"
LABELS_FOLDER = "labels"


def is_finished(path: str) -> bool:
    """Tell files from those in progress and from markers."""
    return not path.rpartition("/")[2].startswith((".", "_"))
