"""The job that scores finds the state that its releases left: its operators have the ids that these knew.

Flink numbers the operators of SQL, and makes their ids of that. Connectors are those of a deployment here;
nothing runs.
"""

import pytest
from pyflink.common import Configuration
from pyflink.table import StreamTableEnvironment

from flink_jobs import ml_inference_job
from flink_jobs.store.settings import Settings

pytestmark = pytest.mark.usefixtures("flink")

# As releases with state of form 1 had them: source and packing, windows, scores and sink.
RELEASED = [
    ["cbc357ccb763df2852fee8c4fc7d55f2", "7df19f87deec5680128845fd9a6ca18d"],
    [
        "90bea66de1c231edf33913ecd54406c1",
        "e5ebb093256018a0621f548fbe118f8a",
        "55785f9edccd37ac9093dea77018f09d",
    ],
    [
        "ccaf28ed0f21f7c4cecb4e3860954233",
        "0d6fc29a06750b4868b0987d9e2ee633",
        "9805a840646b818d061f66c98785078a",
        "0e60647d85ffe35686337042a686fb57",
        "4b11072e8454810f7617a8cc66885047",
        "f6b24272a008593f27b16c0ca8a12474",
        "a5ee04c8736b336f6e61a44f3df16790",
    ],
]


@pytest.mark.parametrize(("parallelism", "shards"), [(1, 2), (2, 4), (3, 6), (32, 64)])
def test_operators_are_those_of_savepoints(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, parallelism: int, shards: int
) -> None:
    environment = ml_inference_job.scoring_environment(ml_inference_job.NAME)
    configuration = Configuration()
    configuration.set_string("parallelism.default", str(parallelism))
    environment.configure(configuration)
    tables = StreamTableEnvironment.create(environment)
    execute = tables.execute_sql

    def plan_only(statement: str) -> None:
        if not statement.startswith("INSERT"):
            execute(statement)
            return
        planned = tables.create_statement_set()
        planned.add_insert_sql(statement)
        planned.attach_as_datastream()

    monkeypatch.setattr(tables, "execute_sql", plan_only)
    ddl = ml_inference_job.job_tables(settings)
    ml_inference_job.submit(tables, ddl, settings.topics, ml_inference_job.Batching(shards, 20))
    graph = environment._j_stream_execution_environment.getStreamGraph(False).getJobGraph()  # noqa: SLF001, FBT003
    tasks = [
        [str(operator.getGeneratedOperatorID()) for operator in reversed(list(task.getOperatorIDs()))]
        for task in graph.getVerticesSortedTopologicallyFromSources()
    ]
    assert tasks == RELEASED
