from datetime import date

import numpy as np
import pandas as pd

from training.columns import HANDBOOK_COLUMNS
from training.simulate import simulate, simulated_dataset


def test_equal_seeds_give_equal_transactions() -> None:
    first, second, other = (simulate(30, 40, 10, date(2024, 1, 1), seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, second)
    assert not first["TX_AMOUNT"].head(20).equals(other["TX_AMOUNT"].head(20))


def test_transactions_lie_in_the_days_asked_for_in_order(handbook_frame: pd.DataFrame) -> None:
    times = handbook_frame["TX_DATETIME"]
    assert times.is_monotonic_increasing
    assert times.iloc[0] >= pd.Timestamp("2024-03-01")
    assert times.iloc[-1] < pd.Timestamp("2024-04-30")
    assert set(HANDBOOK_COLUMNS) < set(handbook_frame.columns)
    assert handbook_frame["TRANSACTION_ID"].is_unique
    assert (handbook_frame["TX_AMOUNT"] >= 0).all()


def test_frauds_are_rare_and_of_three_kinds() -> None:
    frame = simulate(1000, 1000, 60, date(2024, 1, 1), 0)
    share = frame["TX_FRAUD"].mean()
    assert 0.002 < share < 0.03
    assert set(frame["TX_FRAUD_SCENARIO"]) == {0, 1, 2, 3}
    assert ((frame["TX_FRAUD_SCENARIO"] > 0) == (frame["TX_FRAUD"] == 1)).all()


def test_each_kind_of_fraud_looks_as_described() -> None:
    frame = simulate(1000, 1000, 60, date(2024, 1, 1), 0)
    day = (frame["TX_DATETIME"] - pd.Timestamp("2024-01-01")).dt.days
    honest = frame[frame["TX_FRAUD"] == 0]
    assert honest["TX_AMOUNT"].max() <= 220
    assert frame[frame["TX_FRAUD_SCENARIO"] == 1]["TX_AMOUNT"].min() > 220
    phished = frame["TX_FRAUD_SCENARIO"] == 2
    days = day[phished].groupby(frame["TERMINAL_ID"])
    # so seldom that none of them is phished twice
    spans = days.max() - days.min() + 1
    assert len(spans) > 10
    assert spans.max() == spans.mode().iloc[0] == 28
    # whoever pays there is defrauded
    visits = pd.MultiIndex.from_arrays([frame["TERMINAL_ID"], day])
    there = visits.isin(visits[phished])
    assert (frame["TX_FRAUD"][there] == 1).all()
    stolen = frame["TX_FRAUD_SCENARIO"] == 3
    victims = frame[stolen].groupby("CUSTOMER_ID")["TX_AMOUNT"].mean()
    usual = honest.groupby("CUSTOMER_ID")["TX_AMOUNT"].mean().reindex(victims.index)
    assert (victims / usual).median() > 3


def test_customers_pay_at_few_terminals(handbook_frame: pd.DataFrame) -> None:
    visited = handbook_frame.groupby("CUSTOMER_ID")["TERMINAL_ID"].nunique()
    assert visited.max() < 20
    assert np.isin(handbook_frame["TERMINAL_ID"], np.arange(200)).all()


def test_a_simulated_dataset_is_told_apart_by_its_parameters() -> None:
    one, two = (simulated_dataset(20, 20, 5, date(2024, 1, 1), seed) for seed in (1, 2))
    assert one.kind == "history"
    assert one.label == "is_fraud"
    assert "20 customers" in one.source
    assert one.sha256 != two.sha256
