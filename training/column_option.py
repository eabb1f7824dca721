"""What all commands take that read a file of transactions or labels: where it is, and `--columns`."""

import argparse

from training.columns import UNITS_US, Mapping, parse_columns


def add_columns(group: argparse._ActionsContainer) -> None:
    """Add the option `--columns`, which parses to a Mapping, and how messages call it."""
    group.add_argument(
        "--columns",
        type=columns_given,
        metavar="MAP",
        help="which of the file's columns is which: customer_id=cc_num,amount=amt; a time that is a number "
        f"has its unit ({', '.join(UNITS_US)}) and what it counts from, 1970 by default: "
        "event_time=step*1h@2017-01-01",
    )
    # the Makefile's users type COLUMNS=
    group.add_argument("--columns-option", default="--columns", help=argparse.SUPPRESS)


def location(text: str) -> str:
    """Read the name of a file for argparse; an empty one is no file, nor does it stand for the default."""
    if not text:
        raise argparse.ArgumentTypeError("names no file; leave out the option for its default")
    return text


def columns_given(text: str) -> Mapping:
    """Read such an option for argparse."""
    try:
        return parse_columns(text)
    except ValueError as error:
        # argparse shows the words of this one only
        raise argparse.ArgumentTypeError(str(error)) from None
