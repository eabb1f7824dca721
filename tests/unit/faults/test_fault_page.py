"""The page of a run of faults."""

from typing import Any

from faults_page import page
from row import timeline


def example(**changes: object) -> dict[str, Any]:
    marks = {"broken_s": 112.0, "mended_s": 120.0, "dark_from_s": 113.0, "dark_to_s": 118.0}
    return {
        "name": "kill-kafka-node1",
        "seed": 5,
        "aim": "kafka of node1",
        "acknowledged": 4000,
        "lost": 0,
        "repeated_in_lake": 0,
        "differing": 0,
        "dark_s": 5.0,
        "limit_s": 20,
        "after_repair": False,
        "recovered_s": 7.0,
        "problems": [],
        "timeline": timeline([101.0, 101.5, 103.2], [101.2, 105.0], 100.0, marks),
        **changes,
    }


def test_a_timeline_counts_by_the_second() -> None:
    found = example()["timeline"]
    assert found["acknowledged"] == [0, 2, 0, 1]
    assert found["predicted"] == [0, 1, 0, 0, 0, 1]
    assert (found["broken_s"], found["dark_to_s"]) == (12.0, 18.0)


def test_the_page_tells_each_fault_and_what_did_not_hold() -> None:
    wrong = example(name="power-node1", differing=None, problems=["dark for 70.0 s, <60> s are allowed"])
    run = {"seed": 1, "rate_tps": 200.0, "begun": "2026-11-29T12:00:00+00:00", "faults": [example(), wrong]}
    found = page(run)
    assert "Begun 2026-11-29T12:00:00+00:00, seed 1, 200 transactions a second. 2 faults, after 1 of" in found
    assert "power-node1: dark for 70.0 s, &lt;60&gt; s are allowed" in found
    assert found.count('src="data:image/png;base64,') == 2
    assert found.count("does not hold</td>") == 1
    assert "What did not hold" not in page(run | {"faults": [example()]})
