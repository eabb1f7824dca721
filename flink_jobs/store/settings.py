"""Where Kafka, MinIO and their topics and buckets are; one file for jobs, training and clients."""

import os
from pathlib import Path
from typing import Annotated

import msgspec

from flink_jobs.domain.features import LABEL_DELAY_DAYS
from flink_jobs.domain.json_errors import NOT_THE_JSON
from flink_jobs.domain.transaction import DEFAULT_CURRENCY, Currency

MAX_LABEL_DELAY_DAYS = 180
CONTROL_SHARE = 0.001
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
LabelDelay = Annotated[int, msgspec.Meta(ge=0, le=MAX_LABEL_DELAY_DAYS)]
ON_A_HOST = Path("/etc/fraud-detection/settings.json")


class Kafka(msgspec.Struct, frozen=True):
    """How Kafka is reached: `host:port`, comma separated."""

    bootstrap_servers: str


class Topics(msgspec.Struct, frozen=True):
    """Topic names; older settings name no topic for labels."""

    transactions: str
    predictions: str
    fraud_alerts: str
    transactions_dlq: str
    fraud_labels: str = "fraud_labels"


class S3(msgspec.Struct, frozen=True):
    """How MinIO is reached, and as whom.

    Attributes:
        endpoint_url: one server; earlier versions know only this.
        endpoint_urls: several servers, of which any will do; they count instead, if there are any.

    """

    endpoint_url: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"
    endpoint_urls: tuple[str, ...] = ()


class Buckets(msgspec.Struct, frozen=True):
    """Bucket names."""

    datalake: str
    models: str
    features: str
    flink: str


class BreakerSettings(msgspec.Struct, frozen=True):
    """When a release alerts too much or too little, and what comes of it.

    Attributes:
        multiple: of the alerts that the model's manifest expects; its inverse is too little.
        go_back: whether the release before is served again; else it is only said.

    """

    multiple: Annotated[float, msgspec.Meta(gt=1)] = 3.0
    go_back: bool = False


class Settings(msgspec.Struct, frozen=True):
    """The whole file.

    Attributes:
        label_delay_days: how late labels come, for models that are trained from now on.
        unlabelled_is_honest: whether a transaction that nobody labelled counts as honest once the delay is
            over, because all frauds are labelled by then; else it is unknown.
        currency: of all amounts; transactions that name another are refused.
        control_share: of the transactions that raise no alert, those that are offered to whoever labels.
        breaker: judges releases by their alerts, while they are served.

    """

    kafka: Kafka
    topics: Topics
    s3: S3
    buckets: Buckets
    label_delay_days: LabelDelay = LABEL_DELAY_DAYS
    currency: Currency = DEFAULT_CURRENCY
    unlabelled_is_honest: bool = False
    control_share: Share = CONTROL_SHARE
    breaker: BreakerSettings = BreakerSettings()


class SettingsError(RuntimeError):
    """No settings file, or one that is not understood."""


class NoSettingsError(SettingsError):
    """There is no settings file that this user may read."""


def looked_up() -> tuple[Path, Path]:
    """Where settings are looked for: those of the deployment $TERRAFORM_ROOT, then the host's own."""
    deployment = Path(os.environ.get("TERRAFORM_ROOT", "terraform/lab")).name
    return Path("build", deployment, "settings.json"), ON_A_HOST


def defaults_named() -> str:
    """Say, for a help text, where settings come from where no path is given."""
    return ", else ".join(["$FRAUD_SETTINGS", *map(str, looked_up())])


def load_settings(path: str | os.PathLike[str] | None = None) -> Settings:
    """Read the settings from `path`, else from $FRAUD_SETTINGS, else from the first of looked_up().

    Raises:
        SettingsError: names the file, the field, and the command that writes the file.

    """
    named = path or os.environ.get("FRAUD_SETTINGS")
    candidates = (Path(named),) if named else looked_up()
    for candidate in candidates:
        try:
            content = candidate.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise NoSettingsError(
                f"{candidate}: {error.strerror}; it is read by root and its owner only"
            ) from None
        try:
            return msgspec.json.decode(content, type=Settings)
        except NOT_THE_JSON as error:
            raise SettingsError(f"{candidate}: {error}; ansible-playbook site.yml writes it anew") from None
    raise NoSettingsError(
        f"no settings file at {' or '.join(map(str, candidates))}; ansible-playbook site.yml writes one, "
        "--settings or FRAUD_SETTINGS names another"
    )


def own_currency(path: str | os.PathLike[str] | None = None) -> str:
    """Give the currency of the deployment's amounts; the default where there are no settings.

    Raises:
        SettingsError: as for `load_settings`.

    """
    try:
        return load_settings(path).currency
    except NoSettingsError:
        return DEFAULT_CURRENCY
