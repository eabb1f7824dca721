"""SQL functions that read the lake's columns from a record's JSON; `JsonColumns.java` says how.

They are in Java, because Flink's own functions read the JSON anew for each column, which took more than half
of a transaction's way into the lake. Flink has the compiler, with which it compiles its SQL.
"""

import atexit
import shutil
import tempfile
import zipfile
from pathlib import Path

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment

TRANSACTION_COLUMNS_FUNCTION = "transaction_columns"
LABEL_COLUMNS_FUNCTION = "label_columns"
PREDICTION_COLUMNS_FUNCTION = "prediction_columns"

_SOURCE = Path(__file__).with_name("JsonColumns.java")
_CLASSES = {
    TRANSACTION_COLUMNS_FUNCTION: "flink_jobs.JsonColumns$OfTransactions",
    LABEL_COLUMNS_FUNCTION: "flink_jobs.JsonColumns$OfLabels",
    PREDICTION_COLUMNS_FUNCTION: "flink_jobs.JsonColumns$OfPredictions",
}


def register_functions(tables: StreamTableEnvironment, environment: StreamExecutionEnvironment) -> None:
    """Compile the functions, make them known to SQL, and let the job carry them.

    Args:
        tables: whose SQL they are for.
        environment: in which these tables' job is submitted.

    """
    folder = tempfile.mkdtemp(prefix="fraud-detection-")
    # the job has its own copy once it is submitted
    atexit.register(shutil.rmtree, folder)
    jar = Path(folder) / "lake_columns.jar"
    compiler = get_gateway().jvm.org.codehaus.janino.SimpleCompiler()
    compiler.cook(_SOURCE.read_text())
    with zipfile.ZipFile(jar, "w") as packed:
        for name, code in compiler.getBytecodes().items():
            packed.writestr(f"{name.replace('.', '/')}.class", bytes(code))
    for function, class_name in _CLASSES.items():
        tables.execute_sql(
            f"CREATE TEMPORARY SYSTEM FUNCTION {function} AS '{class_name}' USING JAR '{jar.as_uri()}'"
        )
    # that is for planning; the job takes what its environment has
    environment.add_jars(jar.as_uri())
