"""A customer's history in the bytes that savepoints of former releases hold: two payments of one day."""

DAY = "2018-07-01"
PAYMENTS = ((0, 12.075, "288062"), (128, 2.0, "7"))  # seconds of the day, amount, terminal
BYTES = bytes.fromhex(
    "000000000000f0ff000000000000000002000000"
    "0000006006ced641666666666626284069011e39"
    "0000008006ced6410000000000000040824abf6a"
)
