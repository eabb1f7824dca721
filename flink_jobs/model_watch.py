"""The thread of a TaskManager's Python that looks for new releases."""

import logging
import threading
import time
import weakref

from flink_jobs.store.model_registry import ServedScorer

_log = logging.getLogger(__name__)


class ModelWatch:
    """Refreshes scorers until nobody else refers to them.

    In thread mode, PyFlink (2.3) drops the function of a task that is stopped, cancelled or fails, without
    closing it. One thread serves all tasks of the process, one after another, and never ends: PemJa attaches
    to the JVM a thread that runs Python, and detaches none. Of one that has ended, SIGQUIT makes the JVM ask
    for the processor time, and that ends the process.
    """

    def __init__(self, poll_s: float = 10.0) -> None:
        """Begin with no scorer; `poll_s` seconds pass between two looks."""
        self._poll_s = poll_s
        self._scorers = weakref.WeakSet[ServedScorer]()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, scorer: ServedScorer) -> None:
        """Refresh this scorer too."""
        with self._lock:
            self._scorers.add(scorer)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="model-watch", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(self._poll_s)
            self._refresh_all()

    def _refresh_all(self) -> None:
        # a reference held while waiting would keep a scorer alive
        with self._lock:
            scorers = list(self._scorers)
        for scorer in scorers:
            try:
                scorer.refresh()
            except Exception:  # noqa: BLE001 - whatever it is, the model in use goes on, and so does the watch
                _log.exception("cannot look for another release; going on with %s", scorer.current.version)
