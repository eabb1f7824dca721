package flink_jobs;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.time.LocalDate;
import java.util.HashMap;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;
import org.apache.flink.table.catalog.DataTypeFactory;
import org.apache.flink.table.data.GenericMapData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.MapData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.data.binary.BinaryStringData;
import org.apache.flink.table.functions.TableFunction;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.inference.InputTypeStrategies;
import org.apache.flink.table.types.inference.TypeInference;
import org.apache.flink.table.types.inference.TypeStrategies;
import org.apache.flink.table.types.logical.BigIntType;
import org.apache.flink.table.types.logical.BooleanType;
import org.apache.flink.table.types.logical.DoubleType;
import org.apache.flink.table.types.logical.IntType;
import org.apache.flink.table.types.logical.LocalZonedTimestampType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.MapType;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.TimestampType;
import org.apache.flink.table.types.logical.VarBinaryType;
import org.apache.flink.table.types.logical.VarCharType;
import org.apache.flink.table.types.utils.DataTypeUtils;

/**
 * Reads the lake's columns from a record's JSON, once, and as strictly as ml_inference_job reads it.
 *
 * <p>In SQL: LATERAL TABLE(name(payload, time at which Kafka took it, the deployment's currency)), one row
 * for each record. A column is NULL where the job refuses the field, and all are where the record is no JSON
 * object or too large.
 */
public class JsonColumns extends TableFunction<RowData> {

    /** Of transactions, which have 64 KB at most. */
    public static class OfTransactions extends JsonColumns {
        public OfTransactions() {
            super(
                    new String[] {"transaction_id", "event_time", "customer_id", "terminal_id", "amount"},
                    new int[] {ID, TIME, ID_OR_NULL, ID_OR_NULL, AMOUNT},
                    64 * 1024);
        }
    }

    /** Of labels. */
    public static class OfLabels extends JsonColumns {
        public OfLabels() {
            super(
                    new String[] {"transaction_id", "is_fraud", "labelled_by", "labelled_at"},
                    new int[] {ID, FLAG, ID, TIME},
                    Integer.MAX_VALUE);
        }
    }

    /** Of predictions; of what is no JSON object, no row comes. */
    public static class OfPredictions extends JsonColumns {
        public OfPredictions() {
            super(
                    new String[] {
                        "transaction_id", "score", "threshold", "model_version", "risk_version",
                        "challenger_score", "challenger_version", "control_probability",
                        "partition", "offset", "kafka_timestamp_ms", "features"
                    },
                    new int[] {
                        TEXT, NUMBER, NUMBER, TEXT, TEXT, NUMBER, TEXT, NUMBER, INT, LONG, TIME_MS, NUMBERS
                    },
                    Integer.MAX_VALUE);
        }

        protected Object[] ofNoObject() {
            return null;
        }
    }

    private static final int ID = 0;
    private static final int ID_OR_NULL = 1;
    private static final int TIME = 2;
    private static final int AMOUNT = 3;
    private static final int FLAG = 4;
    // of this system's own messages
    private static final int TEXT = 5;
    private static final int NUMBER = 6;
    private static final int INT = 7;
    private static final int LONG = 8;
    private static final int TIME_MS = 9;
    private static final int NUMBERS = 10;

    // as flink_jobs/domain/transaction.py has them
    private static final int MAX_ID_CHARACTERS = 64;
    private static final double MAX_AMOUNT = 1e12;
    private static final long MAX_FUTURE_MS = 24 * 3600 * 1000L;

    private static final JsonFactory JSON = new JsonFactory();

    private final String[] names;
    private final int[] kinds;
    private final int maxBytes;

    private JsonColumns(String[] names, int[] kinds, int maxBytes) {
        this.names = names;
        this.kinds = kinds;
        this.maxBytes = maxBytes;
    }

    public TypeInference getTypeInference(DataTypeFactory ignored) {
        LogicalType[] types = new LogicalType[names.length];
        for (int column = 0; column < types.length; column++) {
            types[column] = type(kinds[column]);
        }
        // values as Flink keeps them itself, so that none is converted
        DataType[] arguments = {
            DataTypeUtils.toInternalDataType(new VarBinaryType(VarBinaryType.MAX_LENGTH)),
            DataTypeUtils.toInternalDataType(new LocalZonedTimestampType(3)),
            DataTypeUtils.toInternalDataType(VarCharType.STRING_TYPE)
        };
        DataType columns = DataTypeUtils.toInternalDataType(RowType.of(types, names));
        return TypeInference.newBuilder()
                .inputTypeStrategy(InputTypeStrategies.explicitSequence(arguments))
                .outputTypeStrategy(TypeStrategies.explicit(columns))
                .build();
    }

    private static LogicalType type(int kind) {
        switch (kind) {
            case ID:
            case ID_OR_NULL:
            case TEXT:
                return VarCharType.STRING_TYPE;
            case TIME:
            case TIME_MS:
                return new TimestampType(3);
            case AMOUNT:
            case NUMBER:
                return new DoubleType();
            case INT:
                return new IntType();
            case LONG:
                return new BigIntType();
            case NUMBERS:
                return new MapType(VarCharType.STRING_TYPE, new DoubleType());
            default:
                return new BooleanType();
        }
    }

    public void eval(byte[] payload, TimestampData came, StringData currency) {
        Object[] values = null;
        if (payload != null && payload.length <= maxBytes) {
            try {
                values = read(payload, came.getMillisecond() + MAX_FUTURE_MS, currency.toString());
            } catch (Exception notTheJson) {
                // whatever is wrong with it, the lake keeps the record
            }
        }
        if (values == null) {
            values = ofNoObject();
        }
        if (values != null) {
            collect(GenericRowData.of(values));
        }
    }

    /** Gives the columns of what is no JSON object; null where it has no row. */
    protected Object[] ofNoObject() {
        return new Object[names.length];
    }

    /** Gives the columns; null where the record is another thing than one JSON object. */
    private Object[] read(byte[] payload, long lastMs, String currency) throws Exception {
        Object[] values = new Object[names.length];
        boolean[] refused = new boolean[names.length];
        boolean otherCurrency = false;
        JsonParser parser = JSON.createParser(text(payload));
        try {
            if (parser.nextToken() != JsonToken.START_OBJECT) {
                return null;
            }
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String name = parser.currentName();
                JsonToken token = parser.nextToken();
                for (int column = 0; column < names.length; column++) {
                    if (names[column].equals(name)) {
                        values[column] = value(kinds[column], token, parser, lastMs);
                        refused[column] |= values[column] == null
                                && (kinds[column] != ID_OR_NULL || token != JsonToken.VALUE_NULL);
                    }
                }
                if (name.equals("currency")) {
                    // the last one counts
                    otherCurrency = token != JsonToken.VALUE_NULL
                            && (token != JsonToken.VALUE_STRING || !parser.getText().equals(currency));
                }
                parser.skipChildren();
            }
            if (parser.nextToken() != null) {
                return null;
            }
        } finally {
            parser.close();
        }
        for (int column = 0; column < names.length; column++) {
            if (refused[column] || otherCurrency && kinds[column] == AMOUNT) {
                values[column] = null;
            }
        }
        return values;
    }

    private static String text(byte[] payload) throws CharacterCodingException {
        String text = new String(payload, StandardCharsets.UTF_8);
        if (text.indexOf('\ufffd') >= 0) {
            // bytes that are no UTF-8 became such a character, or it is the record's own
            StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(payload));
        }
        return text;
    }

    /** Gives a field's value; null where the job refuses it. */
    private static Object value(int kind, JsonToken token, JsonParser parser, long lastMs) throws Exception {
        switch (kind) {
            case FLAG:
                return token == JsonToken.VALUE_TRUE || token == JsonToken.VALUE_FALSE
                        ? Boolean.valueOf(token == JsonToken.VALUE_TRUE)
                        : null;
            case AMOUNT:
                return token.isNumeric() ? amount(parser.getText()) : null;
            case ID:
            case ID_OR_NULL:
                return token == JsonToken.VALUE_STRING ? id(parser.getText()) : null;
            case TIME:
                return token == JsonToken.VALUE_STRING ? time(parser.getText(), lastMs) : null;
            case TEXT:
                return token == JsonToken.VALUE_STRING ? BinaryStringData.fromString(parser.getText()) : null;
            case NUMBER:
                return token.isNumeric() ? Double.valueOf(parser.getText()) : null;
            case INT:
                return token == JsonToken.VALUE_NUMBER_INT ? Integer.valueOf(parser.getText()) : null;
            case LONG:
                return token == JsonToken.VALUE_NUMBER_INT ? Long.valueOf(parser.getText()) : null;
            case TIME_MS:
                return token == JsonToken.VALUE_NUMBER_INT
                        ? TimestampData.fromEpochMillis(Long.parseLong(parser.getText()))
                        : null;
            default:
                return token == JsonToken.START_OBJECT ? numbers(parser) : null;
        }
    }

    private static MapData numbers(JsonParser parser) throws Exception {
        HashMap<Object, Object> numbers = new HashMap<Object, Object>();
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            StringData name = BinaryStringData.fromString(parser.currentName());
            JsonToken token = parser.nextToken();
            numbers.put(name, token.isNumeric() ? Double.valueOf(parser.getText()) : null);
            parser.skipChildren();
        }
        return new GenericMapData(numbers);
    }

    private static StringData id(String text) {
        int characters = 0;
        for (int at = 0; at < text.length(); at++) {
            char found = text.charAt(at);
            if (found < 0x20 || found >= 0x7f && found <= 0x9f) {
                return null;
            }
            if (Character.isSurrogate(found)) {
                at++;
                if (at == text.length() || !Character.isSurrogatePair(found, text.charAt(at))) {
                    return null;
                }
            }
            characters++;
        }
        return characters > 0 && characters <= MAX_ID_CHARACTERS ? BinaryStringData.fromString(text) : null;
    }

    private static Double amount(String text) {
        double amount = Double.parseDouble(text);
        return amount >= 0 && amount <= MAX_AMOUNT ? Double.valueOf(amount) : null;
    }

    /**
     * Reads RFC 3339 with an offset, from 1970 on: a space may stand for the T, and the offset may lack its
     * colon. To the nearest microsecond, which the seventh digit tells, then cut to milliseconds.
     */
    private static TimestampData time(String text, long lastMs) {
        int end = text.length();
        if (end < 20 || text.charAt(4) != '-' || text.charAt(7) != '-'
                || "Tt ".indexOf(text.charAt(10)) < 0 || text.charAt(13) != ':' || text.charAt(16) != ':') {
            return null;
        }
        int year = number(text, 0, 4);
        int month = number(text, 5, 7);
        int day = number(text, 8, 10);
        int hour = number(text, 11, 13);
        int minute = number(text, 14, 16);
        int second = number(text, 17, 19);
        if (year < 1 || month < 1 || month > 12
                || day < 1 || day > LocalDate.of(year, month, 1).lengthOfMonth()
                || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) {
            return null;
        }
        int at = 19;
        int micros = 0;
        if (text.charAt(at) == '.') {
            int digits = 0;
            for (at++; at < end && digit(text, at) >= 0; at++) {
                digits++;
                if (digits <= 6) {
                    micros = micros * 10 + digit(text, at);
                } else if (digits == 7 && digit(text, at) >= 5) {
                    micros++;
                }
            }
            if (digits == 0 || at == end) {
                return null;
            }
            for (; digits < 6; digits++) {
                micros *= 10;
            }
        }
        int offset = offsetMinutes(text, at);
        if (offset == Integer.MIN_VALUE) {
            return null;
        }
        long days = LocalDate.of(year, month, day).toEpochDay();
        long seconds = days * 86400 + hour * 3600 + (minute - offset) * 60 + second;
        long sinceEpoch = seconds * 1000000 + micros;
        return sinceEpoch < 0 || sinceEpoch > lastMs * 1000
                ? null
                : TimestampData.fromEpochMillis(sinceEpoch / 1000);
    }

    /** Gives the minutes that a clock is ahead of UTC; Integer.MIN_VALUE where no offset ends the text. */
    private static int offsetMinutes(String text, int at) {
        char sign = text.charAt(at);
        if (sign == 'Z' || sign == 'z') {
            return at + 1 == text.length() ? 0 : Integer.MIN_VALUE;
        }
        int colon = text.length() == at + 6 && text.charAt(at + 3) == ':' ? 1 : 0;
        if (sign != '+' && sign != '-' || text.length() != at + 5 + colon) {
            return Integer.MIN_VALUE;
        }
        int hours = number(text, at + 1, at + 3);
        int minutes = number(text, at + 3 + colon, at + 5 + colon);
        if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) {
            return Integer.MIN_VALUE;
        }
        return (sign == '-' ? -1 : 1) * (hours * 60 + minutes);
    }

    /** Gives a number of some digits; less than 0 where there is another character. */
    private static int number(String text, int begin, int end) {
        int number = 0;
        for (int at = begin; at < end; at++) {
            int digit = digit(text, at);
            if (digit < 0) {
                return -1;
            }
            number = number * 10 + digit;
        }
        return number;
    }

    private static int digit(String text, int at) {
        char found = text.charAt(at);
        return found >= '0' && found <= '9' ? found - '0' : -1;
    }
}
