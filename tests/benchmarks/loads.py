"""The transactions that benchmarks send: a file's, several times over, or made ones."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from lab import JOBS, REMOTE, Lab

sys.path.append(str(JOBS))

from made_load import BEGIN, PREFIX

# as often as the Handbook's customers pay
PAID_A_DAY = 2
MONTH_DAYS = 30
# A month of so many customers is made after that of the customers before them: what a job does with those
# whom it has just seen is quick, so that the state is soon full.
COHORT = 10_000


def producer(topic: str, file: Path, rate: int | str) -> list[str]:
    """Give the command that sends a file."""
    return ["fraud-producer", "--topic", topic, "--data", str(file), "--rate", str(rate)]


def copies(frame: pd.DataFrame, numbers: range) -> pd.DataFrame:
    """Repeat `frame` for each number, with ids of transactions and customers of their own."""
    made = []
    for number in numbers:
        copy = frame.copy()
        for column in ("transaction_id", "customer_id"):
            copy[column] = f"{number}-" + copy[column].astype(str)
        made.append(copy)
    return pd.concat(made).sort_values("event_time", kind="stable")


def of_made_customers(frame: pd.DataFrame, customers: int, day: int) -> pd.DataFrame:
    """Give `frame` to `customers` made customers, each as likely as any other, within a day of made loads."""
    who = np.random.default_rng(day).integers(customers, size=len(frame))
    seconds = np.arange(len(frame)) * 86_400 // len(frame) + day * 86_400
    return frame.assign(
        customer_id=[f"{PREFIX}{number}" for number in who],
        event_time=np.datetime64(BEGIN, "us") + seconds.astype("timedelta64[s]"),
    )


def make(lab: Lab, topic: str, whose: str, records: int, customers: int) -> None:
    """Let a topic have records of customers at the Handbook's pace; `whose`: see `made_load.customer`."""
    days = max(records // (PAID_A_DAY * customers), 1)
    _work_off(lab, topic, whose=whose, records=records, customers=customers, days=days)


def make_months(lab: Lab, topic: str, customers: int) -> int:
    """Let a topic have a month of each customer, cohort after cohort; return how many records that is."""
    records = customers * PAID_A_DAY * MONTH_DAYS
    load = {"records": records, "customers": customers, "cohorts": customers // COHORT, "days": MONTH_DAYS}
    _work_off(lab, topic, **load)
    return records


def make_next_day(lab: Lab, topic: str, records: int, customers: int) -> None:
    """Let a topic have records of all customers, of the day after their month."""
    _work_off(lab, topic, records=records, customers=customers, **{"first-day": MONTH_DAYS}, days=1)


def _work_off(lab: Lab, topic: str, **options: object) -> None:
    arguments = (f"--{name}={value}" for name, value in options.items())
    lab.work_off(f"{REMOTE}/made_load.py", {"transactions": topic}, *arguments)
