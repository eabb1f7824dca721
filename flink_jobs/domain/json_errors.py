"""What the decoder raises of bytes that are not the JSON that they should be, besides its own errors."""

import msgspec

# text that is no UTF-8, also where the decoder passes it over; and arrays a thousand deep
NOT_THE_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
