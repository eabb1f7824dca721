"""Realistic card transactions from a seed, for trials where no data is at hand.

Follows the simulator that the Fraud Detection Handbook describes (Le Borgne et al., 2022, chapter 3,
"Transaction data simulator"): customers and terminals lie on a square; a customer pays at terminals nearby,
at a pace and with amounts of their own; three kinds of fraud come on top. The number of terminals and
customers compromised a day grows with their total.
"""

import hashlib
from datetime import date
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.dataset import Dataset, from_frame

DEFAULT_CUSTOMERS = 2_500
DEFAULT_TERMINALS = 5_000
DEFAULT_DAYS = 120
DEFAULT_START = date(2025, 1, 1)

_SIDE = 100.0
_RADIUS = 5.0
_MEAN_AMOUNTS = (5.0, 100.0)
_MOST_TRANSACTIONS_A_DAY = 4.0
_DAY_S = 86_400
_NOON_S, _SPREAD_S = 43_200, 20_000

_TOO_LARGE = 220.0  # scenario 1: an obvious fraud
_TERMINAL_DAYS, _TERMINAL_RATE = 28, 2 / 10_000  # scenario 2: phishing; compromised a day, a terminal
_CARD_DAYS, _CARD_RATE = 14, 3 / 5_000  # scenario 3: card not present; compromised a day, a customer
_CARD_SHARE, _CARD_FACTOR = 1 / 3, 5.0


class _Payments(NamedTuple):
    """One entry a transaction."""

    seconds: NDArray[np.int64]
    customers: NDArray[np.int64]
    terminals: NDArray[np.int64]
    amounts: NDArray[np.float64]


def simulate(customers: int, terminals: int, days: int, start: date, seed: int) -> pd.DataFrame:
    """Make transactions in the Handbook's columns, ordered by time.

    Args:
        customers: how many; each makes up to four transactions a day, two on average.
        terminals: how many.
        days: how many, the first being `start`.
        start: the first day, UTC.
        seed: equal arguments give equal transactions.

    """
    rng = np.random.default_rng(seed)
    payments = _honest(rng, customers, terminals, days)
    amounts, scenario = _with_frauds(rng, payments, customers, terminals, days)
    return pd.DataFrame(
        {
            "TRANSACTION_ID": np.arange(len(amounts)),
            "TX_DATETIME": np.datetime64(start, "s") + payments.seconds.astype("timedelta64[s]"),
            "CUSTOMER_ID": payments.customers,
            "TERMINAL_ID": payments.terminals,
            "TX_AMOUNT": amounts,
            "TX_FRAUD": (scenario > 0).astype(np.int8),
            "TX_FRAUD_SCENARIO": scenario,
        }
    )


def simulated_dataset(
    customers: int = DEFAULT_CUSTOMERS,
    terminals: int = DEFAULT_TERMINALS,
    days: int = DEFAULT_DAYS,
    start: date = DEFAULT_START,
    seed: int = 0,
) -> Dataset:
    """Give simulated transactions where `training.dataset.load` would read a file."""
    source = (
        f"simulation of {customers} customers, {terminals} terminals, {days} days from {start}, seed {seed}"
    )
    frame = simulate(customers, terminals, days, start, seed)
    # ids of their own: else histories would mix with those of other data streamed before
    for column in ("TRANSACTION_ID", "CUSTOMER_ID", "TERMINAL_ID"):
        frame[column] = "sim-" + frame[column].astype(str)
    return from_frame(frame, source, hashlib.sha256(source.encode()).hexdigest())


def _honest(rng: np.random.Generator, customers: int, terminals: int, days: int) -> _Payments:
    homes = rng.uniform(0, _SIDE, (customers, 2))
    means = rng.uniform(*_MEAN_AMOUNTS, customers)
    paces = rng.uniform(0, _MOST_TRANSACTIONS_A_DAY, customers)
    nearby, firsts = _terminals_nearby(homes, rng.uniform(0, _SIDE, (terminals, 2)))

    counts = rng.poisson(paces[:, None], (customers, days))
    who = np.repeat(np.arange(customers), counts.sum(axis=1))
    day = np.repeat(np.tile(np.arange(days), customers), counts.ravel())
    second = rng.normal(_NOON_S, _SPREAD_S, len(who)).astype(np.int64)
    within_day = (second > 0) & (second < _DAY_S)
    who, seconds = who[within_day], (day * _DAY_S + second)[within_day]

    amounts = rng.normal(means[who], means[who] / 2)
    amounts = np.where(amounts < 0, rng.uniform(0, 2 * means[who]), amounts).round(2)
    choices = firsts[1:] - firsts[:-1]
    where = nearby[firsts[who] + (rng.random(len(who)) * choices[who]).astype(np.int64)]
    order = np.argsort(seconds, kind="stable")
    return _Payments(seconds[order], who[order], where[order], amounts[order])


def _terminals_nearby(
    homes: NDArray[np.float64], places: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Terminals within reach, customer after customer, and the index of each customer's first."""
    found: list[NDArray[np.int64]] = []
    for home in homes:
        distances = np.square(places - home).sum(axis=1)
        within = np.flatnonzero(distances < _RADIUS**2)
        # a customer far from any terminal goes to the nearest
        found.append(within if len(within) else np.array([distances.argmin()]))
    firsts = np.concatenate(([0], np.cumsum([len(each) for each in found])))
    return np.concatenate(found), firsts


def _with_frauds(
    rng: np.random.Generator, payments: _Payments, customers: int, terminals: int, days: int
) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Amounts as changed by frauds, and each transaction's scenario (0: honest)."""
    day = payments.seconds // _DAY_S
    scenario = (payments.amounts > _TOO_LARGE).astype(np.int8)

    phished = _compromised(rng, terminals, days, _TERMINAL_RATE, _TERMINAL_DAYS)[payments.terminals, day]
    scenario[phished] = 2

    stolen = _compromised(rng, customers, days, _CARD_RATE, _CARD_DAYS)[payments.customers, day]
    stolen &= rng.random(len(day)) < _CARD_SHARE
    scenario[stolen] = 3
    amounts = np.where(stolen, (payments.amounts * _CARD_FACTOR).round(2), payments.amounts)
    return amounts, scenario


def _compromised(
    rng: np.random.Generator, population: int, days: int, rate: float, duration: int
) -> NDArray[np.bool_]:
    """Tell which terminals (or customers) are compromised on which day: [population, days]."""
    state = np.zeros((population, days), dtype=bool)
    for day, count in enumerate(rng.poisson(rate * population, days)):
        state[rng.choice(population, min(count, population), replace=False), day : day + duration] = True
    return state
