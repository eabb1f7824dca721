"""SQL that reads a column of the lake from a record's JSON, as strictly as the scoring job reads it.

Each expression takes the columns `text`, the record, and `timestamp`, when Kafka took it; it is NULL where
the field is none. `JSON_VALUE` gives the number 5 and the text "5" alike. So a search of the text first tells
whether the field stands there as almost all records have it, which costs far less than reading JSON; only
where it does not is the value looked at with its quotes. Flink reads the JSON anew for each call.

A search finds a field at any depth and the first of two, so where a record has another one of that name, the
column may have a value that the job refuses. `docs/data.md` names what else it cannot tell.
"""

_VALUE = "JSON_VALUE(text, '$.FIELD')"
# with its quotes, in brackets
_QUOTED = "JSON_QUERY(text, '$.FIELD' WITH UNCONDITIONAL ARRAY WRAPPER)"

_PLAIN_ID = r"""'"FIELD"\s*:\s*"[^"\\\x7f-\x9f]{1,64}"'"""
_ANY_ID = r"""'^\["(?:[^"\\\p{Cc}]|\\["\\]){1,64}"\]$'"""

_PLAIN_AMOUNT = r"""'"FIELD"\s*:\s*[0-9.]{1,12}\s*[,}]'"""
# to 10^12, as Java writes numbers: with one digit before the point where there is an exponent
_ANY_AMOUNT = (
    r"'^\[(?:[0-9]{1,12}(?:\.[0-9]+)?(?:E-[0-9]+)?|[0-9](?:\.[0-9]+)?E\+(?:[0-9]|1[01])"
    r"|10{12}(?:\.0+)?|1(?:\.0+)?E\+12|0(?:\.0+)?E\+[0-9]+)\]$'"
)

# Flink reads February 30 as 28, and 24:00 as the next day
_DAY = r"(?:[0-9]{2}-(?:[01][0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_LEAP_DAY = r"(?:(?:[02468][048]|[13579][26])00|[0-9]{2}(?:0[48]|[2468][048]|[13579][26]))-02-29"
_CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_PLAIN_TIME = rf"""'"FIELD"\s*:\s*"(?:19[7-9]|20[0-9])[0-9]-{_DAY}T{_CLOCK}(?:\.(?:[0-9]{{3}}){{1,3}})?Z"'"""
_PLAIN_FORMAT = "'yyyy-MM-dd''T''HH:mm:ss[.SSSSSSSSS][.SSSSSS][.SSS]''Z'''"
_ANY_TIME = (
    rf"'^((?:[0-9]{{4}}-{_DAY}|{_LEAP_DAY})[Tt ]{_CLOCK}(?:\.[0-9]{{1,9}})?)(?:(?<=\.[0-9]{{9}})[0-9]*)?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])$'"
)
_HOURS = r"'([+-][0-9]{2}):?[0-9]{2}$'"
_SIGN, _MINUTES = r"'([+-])[0-9]{2}:?[0-9]{2}$'", r"'[+-][0-9]{2}:?([0-9]{2})$'"
_TIME_IN_UTC = f"""TIMESTAMPADD(
      MINUTE,
      -60 * CAST(COALESCE(REGEXP_EXTRACT({_VALUE}, {_HOURS}, 1), '0') AS INT)
        - CAST(CONCAT(COALESCE(REGEXP_EXTRACT({_VALUE}, {_SIGN}, 1), ''),
          COALESCE(REGEXP_EXTRACT({_VALUE}, {_MINUTES}, 1), '0')) AS INT),
      TRY_CAST(OVERLAY(REGEXP_EXTRACT({_VALUE}, {_ANY_TIME}, 1) PLACING ' ' FROM 11) AS TIMESTAMP(3)))"""

_ID = f"CASE WHEN REGEXP(text, {_PLAIN_ID}) OR REGEXP({_QUOTED}, {_ANY_ID}) THEN {_VALUE} END"
_AMOUNT = f"""CASE
    WHEN (REGEXP(text, {_PLAIN_AMOUNT}) OR REGEXP({_QUOTED}, {_ANY_AMOUNT}))
      AND (NOT REGEXP(text, '"currency"') OR COALESCE(JSON_VALUE(text, '$.currency'), currency) = currency)
    THEN TRY_CAST({_VALUE} AS DOUBLE) END"""
_TIME = f"""CASE
    WHEN REGEXP(text, {_PLAIN_TIME})
    THEN CAST(TO_TIMESTAMP({_VALUE}, {_PLAIN_FORMAT}) AS TIMESTAMP(3))
    WHEN {_TIME_IN_UTC} BETWEEN TIMESTAMP '1970-01-01 00:00:00'
      AND CAST(TIMESTAMPADD(DAY, 1, `timestamp`) AS TIMESTAMP(3))
    THEN {_TIME_IN_UTC} END"""
_FLAG = f"CASE {_QUOTED} WHEN '[true]' THEN TRUE WHEN '[false]' THEN FALSE END"


def id_column(field: str) -> str:
    """Give an id: text of 1 to 64 characters, none of which is a control character."""
    return _ID.replace("FIELD", field)


def amount_column(field: str) -> str:
    """Give an amount: a number from 0 to MAX_AMOUNT, in `currency`, a column with the deployment's own."""
    return _AMOUNT.replace("FIELD", field)


def time_column(field: str) -> str:
    """Give a time in UTC, to milliseconds; the clock is looked at only where the time is not plain."""
    return _TIME.replace("FIELD", field)


def flag_column(field: str) -> str:
    """Give true or false."""
    return _FLAG.replace("FIELD", field)
