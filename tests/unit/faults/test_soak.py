"""A soak: what counts as growth, what is sampled, and how jobs restart."""

from typing import Any, cast

import pytest
from containers import HostError
from flatness import SLACK, growths
from hypothesis import given
from hypothesis import strategies as st
from samples import Samples, units_of
from soak import Restarts
from soak_page import page
from system import JobError

MEMORY = ("memory, MB", "kafka of node1")


def problems(samples: list[float], kind: str = "memory, MB") -> list[str]:
    return [problem for each in growths({(kind, "it"): samples}) if (problem := each.problem())]


def test_what_grows_with_each_restart_is_told() -> None:
    # 20 MB a restart, as Python's interpreters once did
    assert problems([1000.0 + 20 * minute for minute in range(60)]) == [
        "it: memory, MB grew from 1742 to 2142"
    ]
    # a descriptor each
    assert problems([200.0 + minute for minute in range(240)], "descriptors") == [
        "it: descriptors grew from 351 to 431"
    ]


def test_caches_that_fill_in_the_first_third_and_moments_are_no_growth() -> None:
    assert problems([*range(0, 1000, 50), *[1000.0] * 40]) == []
    assert problems([*[1000.0] * 50, 5000.0, *[1000.0] * 9]) == []


@given(st.sampled_from(sorted(SLACK)), st.lists(st.floats(0, 1e6), min_size=6))
def test_what_stays_within_its_range_never_grows(kind: str, samples: list[float]) -> None:
    assert problems([*samples, *samples, *samples][: 3 * len(samples)], kind) == []


def test_too_few_samples_are_no_result() -> None:
    with pytest.raises(ValueError, match="5 samples, at least 6"):
        growths({MEMORY: [1.0] * 5})


HOSTS = {
    "node1": {"groups": ["kafka", "minio", "flink_jobmanager"], "ip": "10.0.0.1"},
    "node2": {"groups": ["kafka", "flink_taskmanager"], "ip": "10.0.0.2"},
}


class System:
    """In the place of the lab; tests say what a host prints."""

    hosts = HOSTS

    def __init__(self, *printed: str) -> None:
        self.printed = list(printed)
        self.containers = self
        self.asked: list[str] = []

    def shell(self, host: str, script: str) -> str:
        self.asked.append(host)
        assert all(unit in script for unit in units_of(HOSTS, host))
        return self.printed.pop(0)

    def job(self, name: str) -> str:
        return name

    def checkpoints(self, _job: str) -> dict[str, Any]:
        return {"latest": {"completed": {"state_size": 2_000_000}}}


def test_services_of_a_host_are_those_of_its_groups() -> None:
    assert units_of(HOSTS, "node1") == ["kafka", "minio", "haproxy", "flink-jobmanager"]
    assert units_of(HOSTS, "node2") == ["kafka", "haproxy", "flink-taskmanager@1"]


def test_a_sample_has_each_process_and_tells_which_restarted() -> None:
    system = System(
        "kafka 7 1000 20 30\nfiles 4", "kafka 8 2000 21 31\nfiles 5",
        "kafka 7 1500 20 30\nfiles 4", "kafka 9 2000 21 31\nfiles 5",
    )  # fmt: skip
    samples = Samples(cast("Any", system))
    samples.take()
    assert samples.restarted == set()
    samples.take()
    assert system.asked == ["node1", "node2", "node1", "node2"]
    assert samples.series[MEMORY] == [1.0, 1.5]
    assert samples.series["descriptors", "kafka of node2"] == [31, 31]
    assert samples.series["files", "node2"] == [5, 5]
    assert samples.series["state, MB", "ml_inference_job"] == [2, 2]
    assert samples.restarted == {"kafka of node2"}


def test_a_service_that_does_not_run_counts_as_restarted() -> None:
    samples = Samples(cast("Any", System("kafka 0 0 0 0", "files 5")))
    samples.take()
    assert samples.restarted == {"kafka of node1"}


class Flink:
    """In the place of Flink; a job has what was asked for at once."""

    def __init__(self) -> None:
        self.wanted = {
            job: {
                "source": {"parallelism": {"lowerBound": 1, "upperBound": 2}},
                "end": {"parallelism": {"lowerBound": 1, "upperBound": 1}},
            }
            for job in ("kafka_to_minio_job", "ml_inference_job")
        }
        self.widths: list[tuple[str, int, int]] = []

    def request(self, path: str, method: str = "GET", body: Any = None) -> Any:  # noqa: ANN401
        _, _, job, *rest = path.split("/")
        if method == "PUT":
            self.wanted[job] = body
            self.widths.append(
                (job, *(body[vertex]["parallelism"]["upperBound"] for vertex in ("source", "end")))
            )
        if rest:
            return self.wanted[job]
        vertices = [
            {"id": vertex, "status": "RUNNING", "parallelism": each["parallelism"]["upperBound"]}
            for vertex, each in self.wanted[job].items()
        ]
        return {"state": "RUNNING", "vertices": vertices}


def test_jobs_restart_in_turns_to_one_subtask_and_back() -> None:
    flink = Flink()
    system = System()
    system.flink = flink  # type: ignore[attr-defined]
    restarts = Restarts(cast("Any", system))
    for _ in range(4):
        restarts.next()
    lake, scores = "kafka_to_minio_job", "ml_inference_job"
    assert flink.widths == [(lake, 1, 1), (scores, 1, 1), (lake, 2, 1), (scores, 2, 1)]
    restarts.next()
    restarts.undo()
    assert flink.widths[-2:] == [(lake, 2, 1), (scores, 2, 1)]
    assert restarts.done == 5


def test_a_request_is_repeated_while_the_one_before_is_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = ["Another update to the job [%s] resource requirements is in progress."] * 2
    system, flink = System(), Flink()
    system.flink = flink  # type: ignore[attr-defined]
    request = flink.request

    def busy(*asked: Any) -> Any:  # noqa: ANN401 - as Flink's
        if len(asked) > 1 and refusals:
            raise JobError(refusals.pop())
        return request(*asked)

    restarts = Restarts(cast("Any", system))
    monkeypatch.setattr(flink, "request", busy)
    monkeypatch.setattr("soak.time.sleep", lambda _: None)
    restarts.next()
    assert (restarts.done, refusals) == (1, [])
    refusals.append("no such job")
    with pytest.raises(JobError, match="no such job"):
        restarts.next()


def test_a_job_that_does_not_restart_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soak.RESTARTED_S", 0.0)
    system, flink = System(), Flink()
    system.flink = flink  # type: ignore[attr-defined]
    restarts = Restarts(cast("Any", system))
    request = flink.request
    monkeypatch.setattr(
        flink, "request", lambda *asked: {"state": "RESTARTING"} if len(asked) == 1 else request(*asked)
    )
    with pytest.raises(HostError, match="did not restart within 0 s"):
        restarts.next()


def test_the_page_names_what_grew() -> None:
    series = {MEMORY: [float(1000 + 40 * n) for n in range(12)], ("state, MB", "it"): [1.0] * 12}
    found = growths(series)
    shown = page(
        {
            "begun": "2026-11-29T00:00:00+00:00",
            "minutes": 60.0,
            "rate_tps": 200.0,
            "restarts": 50,
            "acknowledged": 720_000,
            "problems": [problem for each in found if (problem := each.problem())],
            "growths": [each._asdict() | {"allowed": each.allowed} for each in found],
            "series": [{"kind": kind, "of": of, "samples": values} for (kind, of), values in series.items()],
        }
    )
    assert "kafka of node1: memory, MB grew" in shown
    assert shown.count("<img") == 2
