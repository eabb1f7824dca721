"""`fraud-retrain`: train on the lake, let the model challenge the promoted one, and judge it after its time.

Each run does the next step. Without a challenger it trains one; its twin must pass the gate. A challenger
that has been in the shadow for long enough is compared with the promoted model on days that neither has
learnt from; with `--auto-promote` it is promoted where it passes the gate and measured at least as good, and
dropped where not; without, it is only reported on. Where the lake has too little yet, it says what is
missing, and ends well: the next run may do it.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.model import ServedModel
from flink_jobs.store.object_store import ObjectStoreError
from flink_jobs.store.settings import SettingsError, load_settings
from training.candidate import fingerprint_of, train
from training.examples import days_to_prepare
from training.gate import (
    Comparison,
    GateError,
    NotComparedError,
    TooEarlyError,
    champion_of,
    compare_on,
    compare_twin,
    first_day_needed,
)
from training.options import (
    add_data,
    add_forest,
    add_threshold,
    delay_of,
    forest_of,
    name_lake,
    positive,
    prepare_for,
    read,
    read_from,
    rule_of,
)
from training.printable import printable
from training.promotions import Promotions
from training.publish import PublishError, upload, write
from training.release_writer import PromotionError
from training.retraining import SHADOW_DAYS, shadow_is_over, why_dropped
from training.steps import step
from training.tables import DatasetError, TooLittleDataError

# A challenge is looked for in so many releases; terminal risk is renewed hourly.
_RELEASES = 5_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when the step was done, or there was nothing to do, or too little to do it on."""
    options = _parser().parse_args(argv)
    from_lake = not options.data
    try:
        _run(options)
    except (TooEarlyError, TooLittleDataError) as error:
        if from_lake:
            print(f"nothing to do yet: {printable(str(error))}")
            return 0
        print(f"fraud-retrain: {printable(str(error))}", file=sys.stderr)
        return 1
    except GateError as error:
        way_out = "`fraud-train --promote --force REASON` promotes a model that is not compared"
        print(f"fraud-retrain: {printable(str(error))}; {way_out}", file=sys.stderr)
        return 1
    except (DatasetError, ObjectStoreError, PromotionError, PublishError, SettingsError) as error:
        print(f"fraud-retrain: {printable(str(error))}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    settings = load_settings(options.settings)
    promotions = Promotions(settings)
    if promotions.current() is None:
        raise PromotionError("no model is promoted; `fraud-train --promote` makes the first")
    from_lake = not options.data
    name_lake(options)
    challenger = promotions.challenger()
    if challenger is None:
        if from_lake:
            days = days_to_prepare(options.train_days, options.test_days, delay_of(options))
            read_from(options, lambda last: last - timedelta(days=days))
        _train(promotions, options)
        return
    # one that cannot be loaded is said at once: waiting until it is judged would change nothing
    other = _challenger(promotions, challenger)
    since = challenged_since(promotions, challenger)
    if not shadow_is_over(since.date(), datetime.now(UTC).date(), options.shadow_days):
        over = since.date() + timedelta(days=options.shadow_days)
        print(f"{challenger} is in the shadow since {since:%Y-%m-%d}, until {over} (UTC)")
        return
    way_out = f"`fraud-models promote {challenger}` promotes the challenger without a comparison"
    champion = _champion(promotions, other.manifest, way_out)
    if champion is None:
        raise PromotionError(
            f"{challenger} is the promoted model: `fraud-models unchallenge` ends its challenge"
        )
    if from_lake:
        read_from(options, partial(first_day_needed, other.manifest, champion.manifest))
    comparison = compare_on(read(options), other, champion)
    _judge(promotions, challenger, comparison, auto_promote=options.auto_promote)


def _challenger(promotions: Promotions, version: str) -> ServedModel:
    """Load the challenger, and say what to do where that cannot be."""
    try:
        return promotions.load(version)
    except PromotionError as error:
        way_out = "`fraud-models unchallenge` ends its challenge, and the next run trains another"
        raise PromotionError(f"the challenger cannot be loaded: {error}. {way_out}") from None


def _train(promotions: Promotions, options: argparse.Namespace) -> None:
    """Train a model, and let it challenge the promoted one, unless its twin is worse."""
    settings = load_settings(options.settings)
    data = read(options)
    prepared = prepare_for(options, data)
    fingerprint = fingerprint_of(data, vars(options))
    candidate, tested = train(data, prepared, forest_of(options), rule_of(options), fingerprint)
    with tempfile.TemporaryDirectory() as folder:
        output = options.output or Path(folder)
        with step("Writing the model, ONNX held to scikit-learn"):
            manifest = write(candidate, output)
        way_out = "`fraud-train --promote` promotes a model without a comparison"
        champion = _champion(promotions, manifest, way_out)
        if champion is None:
            print("unchanged: the promoted model is the same")
            return
        comparison = compare_twin(tested, manifest, champion)
        print(comparison)
        if not comparison.passes:
            print("unchanged: the new model may be worse, and does not challenge the promoted one")
            return
        version = upload(output, settings).version
    promotions.challenge(version, f"retrained; its twin had {comparison}")
    print(f"{version} challenges {champion.manifest.version} for {options.shadow_days} days")


def _champion(promotions: Promotions, manifest: Manifest, way_out: str) -> ServedModel | None:
    """Give what `champion_of` does, and say what to do where the promoted model cannot be loaded."""
    try:
        return champion_of(promotions, manifest)
    except NotComparedError as error:
        raise PromotionError(f"{error}; {way_out}") from None


def _judge(promotions: Promotions, version: str, comparison: Comparison, *, auto_promote: bool) -> None:
    """Report on a challenger that was compared, and where asked, promote or drop it."""
    print(f"{version}: {comparison}")
    if not auto_promote:
        print(f"it {_would(comparison)} the gate; `fraud-models promote` or `unchallenge` is for you to say")
    elif why := why_dropped(comparison):
        promotions.unchallenge(f"{why}; {comparison}")
        print(f"dropped {version}, which {why}")
    else:
        print(promotions.promote(version, f"retrained; {comparison}").terminals)
        print(f"promoted {version}")


def _would(comparison: Comparison) -> str:
    return "passes" if comparison.passes else "does not pass"


def challenged_since(promotions: Promotions, version: str) -> datetime:
    """Tell since when a model is the challenger of the promoted one.

    A promotion begins the time anew, as it is another model that is challenged.
    """
    began = None
    for stored in promotions.releases.log(_RELEASES):
        release = stored.release
        if release is None:
            continue
        challenger = release.challenger
        if challenger is None or challenger.version != version or (began and release.model != began.model):
            break
        began = release
    if began is None:
        raise PromotionError(f"{version} challenges no more")
    return datetime.fromisoformat(began.when)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fraud-retrain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_data(parser, tested="which ends where labels do; the twin is tested on it", unless_given="the lake")
    add_forest(parser)
    add_threshold(parser)
    shadow = parser.add_argument_group("challenge")
    shadow.add_argument(
        "--shadow-days",
        type=positive,
        default=SHADOW_DAYS,
        metavar="N",
        help="how long a new model scores beside the promoted one before it is judged (default: %(default)s)",
    )
    shadow.add_argument(
        "--auto-promote",
        action="store_true",
        help="then promote it where it passes the gate and measured at least as good, else drop it; "
        "without, only report",
    )
    shadow.add_argument(
        "--output", type=Path, metavar="DIR", help="keep the model's files there as well (default: nowhere)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
