//! Reads neo4rs rows into our values without losing anything.
//!
//! neo4rs' own conversions go through chrono, which cannot hold Neo4j's years and loses zones and months. Its internal type
//! can be walked by serde, though: asked for an enum by the name of that type, it hands out each value's kind and its raw
//! parts. That name and the kinds' numbers are internal: the version is pinned and the tests below hold both.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, EnumAccess, Error as _, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor};

use crate::model::element::{ElementNumber, Properties};
use crate::model::value::Value;

/// Numbers of neo4rs' value kinds, in its own order.
mod kind {
    pub(super) const NULL: u8 = 0;
    pub(super) const STRING: u8 = 1;
    pub(super) const BOOLEAN: u8 = 2;
    pub(super) const INTEGER: u8 = 4;
    pub(super) const FLOAT: u8 = 5;
    pub(super) const LIST: u8 = 6;
    pub(super) const POINT_2D: u8 = 10;
    pub(super) const POINT_3D: u8 = 11;
    pub(super) const BYTES: u8 = 12;
    pub(super) const DURATION: u8 = 14;
    pub(super) const DATE: u8 = 15;
    pub(super) const TIME: u8 = 16;
    pub(super) const LOCAL_TIME: u8 = 17;
    pub(super) const DATE_TIME: u8 = 18;
    pub(super) const LOCAL_DATE_TIME: u8 = 19;
    pub(super) const DATE_TIME_ZONE_ID: u8 = 20;
}

/// A value or null; Neo4j has no null inside a property, but a projected column may be one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Nullable(pub(super) Option<Value>);

impl<'de> Deserialize<'de> for Nullable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_enum(std::any::type_name::<neo4rs::BoltType>(), &[], ValueVisitor).map(Nullable)
    }
}

/// All properties of an element, in the order of the wire.
#[derive(Debug)]
pub(super) struct PropertyList(pub(super) Properties);

impl<'de> Deserialize<'de> for PropertyList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PropertyListVisitor).map(PropertyList)
    }
}

/// An element id: `4:<database>:<number>`.
#[derive(Debug)]
pub(super) struct ElementId(pub(super) ElementNumber);

impl<'de> Deserialize<'de> for ElementId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        let number = text.rsplit(':').next().and_then(|number| number.parse().ok());
        number.map(|n| ElementId(ElementNumber(n))).ok_or_else(|| D::Error::custom("an element id without a number"))
    }
}

struct PropertyListVisitor;

impl<'de> Visitor<'de> for PropertyListVisitor {
    type Value = Properties;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of properties")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Properties, A::Error> {
        let mut properties = Vec::with_capacity(map.size_hint().unwrap_or_default());
        while let Some((name, value)) = map.next_entry::<String, Nullable>()? {
            if let Some(value) = value.0 {
                properties.push((name, value));
            }
        }
        Ok(properties)
    }
}

/// The number of a kind; asked for anything, neo4rs gives the number, asked for an identifier, the name.
struct Kind(u8);

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KindVisitor;
        impl Visitor<'_> for KindVisitor {
            type Value = Kind;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the number of a value kind")
            }
            fn visit_u8<E: serde::de::Error>(self, number: u8) -> Result<Kind, E> {
                Ok(Kind(number))
            }
        }
        deserializer.deserialize_any(KindVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a property value")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Option<Value>, A::Error> {
        let (Kind(kind), variant) = data.variant()?;
        match kind {
            kind::FLOAT | kind::INTEGER | kind::STRING | kind::BOOLEAN | kind::NULL | kind::LIST | kind::BYTES => {
                variant.tuple_variant(1, PlainVisitor)
            }
            kind::DURATION => variant.tuple_variant(1, DurationVisitor).map(Some),
            kind::POINT_2D => variant.tuple_variant(3, PointVisitor).map(Some),
            kind::POINT_3D => variant.tuple_variant(4, PointVisitor).map(Some),
            kind::DATE | kind::TIME | kind::LOCAL_TIME | kind::DATE_TIME | kind::LOCAL_DATE_TIME | kind::DATE_TIME_ZONE_ID => {
                variant.tuple_variant(1, TemporalVisitor(kind)).map(Some)
            }
            other => Err(A::Error::custom(format_args!("value kind {other} is not one of a property"))),
        }
    }
}

/// Everything that arrives as a plain serde value.
struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain value or a list")
    }

    fn visit_unit<E>(self) -> Result<Option<Value>, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Option<Value>, E> {
        Ok(Some(Value::Boolean(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Option<Value>, E> {
        Ok(Some(Value::Integer(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Option<Value>, E> {
        Ok(Some(Value::Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Option<Value>, E> {
        Ok(Some(Value::String(value.to_owned())))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Option<Value>, E> {
        Ok(Some(Value::Bytes(value.to_vec())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<Value>, A::Error> {
        let mut items = ListBuilder::with_capacity(seq.size_hint().unwrap_or_default());
        while let Some(Nullable(item)) = seq.next_element()? {
            items.push(item.ok_or_else(|| A::Error::custom("null in a list"))?);
        }
        Ok(Some(items.build()))
    }
}

/// Collects a list, in the compact form for as long as all its items are floats.
enum ListBuilder {
    Floats(Vec<f64>),
    Mixed(Vec<Value>),
}

impl ListBuilder {
    fn with_capacity(items: usize) -> Self {
        Self::Floats(Vec::with_capacity(items))
    }

    fn push(&mut self, item: Value) {
        match (&mut *self, item) {
            (Self::Floats(floats), Value::Float(float)) => floats.push(float),
            (Self::Floats(floats), item) => {
                let mut items: Vec<Value> = floats.drain(..).map(Value::Float).collect();
                items.push(item);
                *self = Self::Mixed(items);
            }
            (Self::Mixed(items), item) => items.push(item),
        }
    }

    fn build(self) -> Value {
        match self {
            Self::Floats(floats) if floats.is_empty() => Value::List(Vec::new()),
            Self::Floats(floats) => Value::Floats(floats),
            Self::Mixed(items) => Value::List(items),
        }
    }
}

struct DurationVisitor;

impl<'de> Visitor<'de> for DurationVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the four parts of a duration")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut part = || seq.next_element::<i64>()?.ok_or_else(|| A::Error::custom("a duration of fewer than four parts"));
        Ok(Value::Duration { months: part()?, days: part()?, seconds: part()?, nanoseconds: part()? })
    }
}

struct PointVisitor;

impl<'de> Visitor<'de> for PointVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the parts of a point")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let missing = || A::Error::custom("a point without all its parts");
        let srid = seq.next_element()?.ok_or_else(missing)?;
        let x = seq.next_element()?.ok_or_else(missing)?;
        let y = seq.next_element()?.ok_or_else(missing)?;
        Ok(Value::Point { srid, x, y, z: seq.next_element()? })
    }
}

/// Reads the raw fields of a temporal value of the given kind.
struct TemporalVisitor(u8);

#[derive(Default)]
struct TemporalFields {
    days: i64,
    seconds: i64,
    nanoseconds: i64,
    offset_seconds: i64,
    zone: String,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum TemporalField {
    Days,
    Seconds,
    NanoSeconds,
    TzOffsetSeconds,
    TzInfo,
    #[serde(other)]
    Other,
}

impl<'de> Visitor<'de> for TemporalVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the fields of a temporal value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = TemporalFields::default();
        while let Some(field) = map.next_key()? {
            match field {
                TemporalField::Days => fields.days = map.next_value()?,
                TemporalField::Seconds => fields.seconds = map.next_value()?,
                TemporalField::NanoSeconds => fields.nanoseconds = map.next_value()?,
                TemporalField::TzOffsetSeconds => fields.offset_seconds = map.next_value()?,
                TemporalField::TzInfo => fields.zone = map.next_value()?,
                TemporalField::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        fields.into_value(self.0).ok_or_else(|| A::Error::custom("a temporal value out of its range"))
    }
}

impl TemporalFields {
    fn into_value(self, kind: u8) -> Option<Value> {
        let nanoseconds = u32::try_from(self.nanoseconds).ok();
        Some(match kind {
            kind::DATE => Value::Date { days: self.days },
            kind::LOCAL_TIME => Value::LocalTime { nanoseconds: self.nanoseconds },
            kind::TIME => Value::Time { nanoseconds: self.nanoseconds, offset_seconds: i32::try_from(self.offset_seconds).ok()? },
            kind::LOCAL_DATE_TIME => Value::LocalDateTime { seconds: self.seconds, nanoseconds: nanoseconds? },
            // Bolt 4 sends an offset datetime as the local clock shows it.
            kind::DATE_TIME => {
                Value::DateTime { epoch_seconds: self.seconds.checked_sub(self.offset_seconds)?, nanoseconds: nanoseconds? }
            }
            _ => Value::WallClock { local_seconds: self.seconds, nanoseconds: nanoseconds?, zone: self.zone },
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use chrono::{FixedOffset, NaiveDate, NaiveTime, TimeZone};
    use neo4rs::{BoltList, BoltMap, BoltType};

    fn read(value: impl Into<BoltType>) -> Option<Value> {
        let mut map = BoltMap::new();
        map.put("x".into(), value.into());
        // A row's column is deserialised from the same internal type as a map's entry.
        let row = neo4rs::Row::new(BoltList::from(vec![BoltType::from("p")]), BoltList::from(vec![BoltType::Map(map)]));
        #[derive(Deserialize)]
        struct Columns {
            p: PropertyList,
        }
        let columns: Columns = row.to().unwrap();
        columns.p.0.into_iter().next().map(|(_, value)| value)
    }

    #[test]
    fn plain_values_arrive_whole() {
        assert_eq!(read(true), Some(Value::Boolean(true)));
        assert_eq!(read(i64::MIN), Some(Value::Integer(i64::MIN)));
        assert_eq!(read(f64::INFINITY), Some(Value::Float(f64::INFINITY)));
        assert_eq!(read("a\0b"), Some(Value::String("a\0b".to_owned())));
        assert_eq!(read(BoltType::Null(neo4rs::BoltNull)), None);
    }

    #[test]
    fn lists_take_the_compact_form_only_for_floats_alone() {
        assert_eq!(read(Vec::<f64>::new()), Some(Value::List(vec![])));
        assert_eq!(read(vec![1.5, 2.5]), Some(Value::Floats(vec![1.5, 2.5])));
        let mixed = BoltType::List(BoltList::from(vec![BoltType::from(1.5), BoltType::from(2)]));
        assert_eq!(read(mixed), Some(Value::List(vec![Value::Float(1.5), Value::Integer(2)])));
        let dates = vec![NaiveDate::from_ymd_opt(1970, 1, 2).unwrap()];
        assert_eq!(read(dates), Some(Value::List(vec![Value::Date { days: 1 }])));
    }

    #[test]
    fn temporal_values_keep_their_own_numbers() {
        let date = NaiveDate::from_ymd_opt(1969, 12, 31).unwrap();
        let time = NaiveTime::from_hms_nano_opt(0, 0, 1, 5).unwrap();
        let east = FixedOffset::east_opt(3600).unwrap();
        assert_eq!(read(date), Some(Value::Date { days: -1 }));
        assert_eq!(read(time), Some(Value::LocalTime { nanoseconds: 1_000_000_005 }));
        assert_eq!(read((time, east)), Some(Value::Time { nanoseconds: 1_000_000_005, offset_seconds: 3600 }));
        let local = date.and_time(time);
        assert_eq!(read(local), Some(Value::LocalDateTime { seconds: -86_399, nanoseconds: 5 }));
        assert_eq!(
            read(east.from_local_datetime(&local).unwrap()),
            Some(Value::DateTime { epoch_seconds: -86_399 - 3600, nanoseconds: 5 })
        );
        assert_eq!(
            read((local, "Europe/Berlin")),
            Some(Value::WallClock { local_seconds: -86_399, nanoseconds: 5, zone: "Europe/Berlin".to_owned() })
        );
    }
}
