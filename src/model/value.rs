//! A property value as Neo4j stores it, without any loss.

/// Every type that a Neo4j property can have.
///
/// Temporal values are kept as Neo4j's own numbers and never pass through `chrono`: Neo4j's years reach ±999,999,999,
/// chrono's ±262,000.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A Boolean: `true` or `false`.
    Boolean(bool),
    /// A 64-bit signed integer.
    Integer(i64),
    /// A 64-bit float, NaN and the infinities included.
    Float(f64),
    /// A text, which in Neo4j may contain NUL.
    String(String),
    /// An array of bytes.
    Bytes(Vec<u8>),
    /// A list that is empty or does not hold only floats.
    List(Vec<Value>),
    /// A non-empty list of only floats: a third of the memory of [`Value::List`], and every embedding is one.
    Floats(Vec<f64>),
    /// A calendar date, in days since 1970-01-01.
    Date {
        /// Days since the epoch, negative before it.
        days: i64,
    },
    /// A time of day without a zone, in nanoseconds since midnight.
    LocalTime {
        /// The nanoseconds since midnight.
        nanoseconds: i64,
    },
    /// A time of day with an offset.
    Time {
        /// Nanoseconds since local midnight.
        nanoseconds: i64,
        /// Seconds east of UTC.
        offset_seconds: i32,
    },
    /// A date and time without a zone, as if it were UTC.
    LocalDateTime {
        /// Seconds since 1970-01-01T00:00:00 of the same calendar.
        seconds: i64,
        /// Nanoseconds of the second, 0 to 999,999,999.
        nanoseconds: u32,
    },
    /// An instant: a zoned date and time. The zone itself is not kept, because the cache holds UTC.
    DateTime {
        /// Seconds since the epoch, UTC.
        epoch_seconds: i64,
        /// Nanoseconds of the second, 0 to 999,999,999.
        nanoseconds: u32,
    },
    /// A duration; its four parts are independent in Neo4j.
    Duration {
        /// The number of months.
        months: i64,
        /// The number of days.
        days: i64,
        /// The number of seconds.
        seconds: i64,
        /// The number of nanoseconds.
        nanoseconds: i64,
    },
    /// A point; `z` is only for the three-dimensional reference systems.
    Point {
        /// The reference system: 4326 and 4979 (WGS-84), 7203 and 9157 (Cartesian).
        srid: i64,
        /// The longitude, or x.
        x: f64,
        /// The latitude, or y.
        y: f64,
        /// The height, or z.
        z: Option<f64>,
    },
}

impl Value {
    /// The approximate bytes that this value holds in memory: credits are counted in them.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Value>()
            + match self {
                Value::String(text) => text.len(),
                Value::Bytes(bytes) => bytes.len(),
                Value::Floats(floats) => floats.len() * size_of::<f64>(),
                Value::List(items) => items.iter().map(Value::weight).sum(),
                _ => 0,
            }
    }

    /// The word for this value's type, for reports.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Value::Boolean(_) => "boolean",
            Value::Integer(_) => "integer",
            Value::Float(_) => "float",
            Value::String(_) => "string",
            Value::Bytes(_) => "byte array",
            Value::List(_) => "list",
            Value::Floats(_) => "list of floats",
            Value::Date { .. } => "date",
            Value::LocalTime { .. } => "local time",
            Value::Time { .. } => "time",
            Value::LocalDateTime { .. } => "local datetime",
            Value::DateTime { .. } => "datetime",
            Value::Duration { .. } => "duration",
            Value::Point { .. } => "point",
        }
    }
}
