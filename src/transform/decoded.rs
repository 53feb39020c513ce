//! For tests: a reader of FalkorDB's parameter text that shares nothing with the writer, and the values that it must read.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use proptest::prelude::*;

use super::values::write_value;
use super::writer::ParameterText;
use crate::model::prepared::Conversions;
use crate::model::value::Value;

/// The value that FalkorDB's parser reads from parameter text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum DecodedValue {
    Null,
    Boolean(bool),
    Integer(i64),
    /// The float's bits: −0.0 differs from 0.0.
    Float(u64),
    String(String),
    List(Vec<DecodedValue>),
    Map(BTreeMap<String, DecodedValue>),
}

/// Reads one value; leftover or malformed text is an error.
pub(super) fn decode(text: &str) -> Result<DecodedValue, String> {
    let mut reader = TextReader { rest: text.chars().peekable() };
    let value = reader.value()?;
    let left: String = reader.rest.collect();
    if left.is_empty() { Ok(value) } else { Err(format!("left over: {left}")) }
}

struct TextReader<'a> {
    rest: Peekable<Chars<'a>>,
}

impl TextReader<'_> {
    fn value(&mut self) -> Result<DecodedValue, String> {
        match self.rest.peek() {
            Some('[') => self.list(),
            Some('{') => self.map(),
            Some('"') => self.string().map(DecodedValue::String),
            Some(_) => self.word(),
            None => Err("nothing".into()),
        }
    }

    fn take(&mut self, expected: char) -> Result<(), String> {
        match self.rest.next() {
            Some(found) if found == expected => Ok(()),
            other => Err(format!("expected {expected}, found {other:?}")),
        }
    }

    /// Reads items until `end`, separated by commas.
    fn items(&mut self, end: char, mut item: impl FnMut(&mut Self) -> Result<(), String>) -> Result<(), String> {
        self.rest.next();
        if self.rest.next_if_eq(&end).is_some() {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.rest.next_if_eq(&end).is_some() {
                return Ok(());
            }
            self.take(',')?;
        }
    }

    fn list(&mut self) -> Result<DecodedValue, String> {
        let mut list = Vec::new();
        self.items(']', |reader| {
            list.push(reader.value()?);
            Ok(())
        })?;
        Ok(DecodedValue::List(list))
    }

    fn map(&mut self) -> Result<DecodedValue, String> {
        let mut map = BTreeMap::new();
        self.items('}', |reader| {
            let name = reader.name()?;
            reader.take(':')?;
            let value = reader.value()?;
            if map.insert(name.clone(), value).is_some() {
                return Err(format!("{name} twice"));
            }
            Ok(())
        })?;
        Ok(DecodedValue::Map(map))
    }

    fn name(&mut self) -> Result<String, String> {
        let mut name = String::new();
        if self.rest.next_if_eq(&'`').is_some() {
            while let Some(c) = self.rest.next_if(|c| *c != '`') {
                name.push(c);
            }
            return self.take('`').map(|()| name);
        }
        while let Some(c) = self.rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
        }
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) { Err(format!("name {name:?}")) } else { Ok(name) }
    }

    fn string(&mut self) -> Result<String, String> {
        self.take('"')?;
        let mut text = String::new();
        loop {
            match self.rest.next() {
                None | Some('\0') => return Err("the string does not end".into()),
                Some('"') => return Ok(text),
                Some('\\') => text.push(self.rest.next().filter(|c| matches!(c, '"' | '\\')).ok_or("unknown escape")?),
                Some(c) => text.push(c),
            }
        }
    }

    fn word(&mut self) -> Result<DecodedValue, String> {
        let mut word = String::new();
        while let Some(c) = self.rest.next_if(|c| !matches!(c, ',' | ']' | '}')) {
            word.push(c);
        }
        match word.as_str() {
            "null" => Ok(DecodedValue::Null),
            "true" => Ok(DecodedValue::Boolean(true)),
            "false" => Ok(DecodedValue::Boolean(false)),
            _ if !word.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => Err(format!("word {word:?}")),
            _ if word.contains(['.', 'e', 'E']) => {
                word.parse().map(|float: f64| DecodedValue::Float(float.to_bits())).map_err(|e| e.to_string())
            }
            _ => word.parse().map(DecodedValue::Integer).map_err(|e| e.to_string()),
        }
    }
}

/// Any text, including the sequences most likely to break a reader or writer.
pub(super) fn any_text() -> impl Strategy<Value = String> {
    let hostile = prop::sample::select(vec![
        "\"",
        "\\",
        "'",
        "`",
        "\n",
        "\r\n",
        "\t",
        "\0",
        "\u{1}",
        "\u{7f}",
        "$",
        "{",
        "}",
        "[",
        ",",
        ":",
        "\\\"",
        "\\u0041",
        "é",
        "🙂",
        "👩‍👩‍👧",
        "שלום",
        "مرحبا",
        "\u{202e}",
        "\u{feff}",
        "\u{fffd}",
        "\u{2028}",
        "\u{10ffff}",
        "CYPHER ",
        "null",
    ]);
    prop_oneof![
        any::<String>(),
        prop::collection::vec(prop_oneof![hostile.prop_map(str::to_owned), ".{0,5}"], 0..12).prop_map(|parts| parts.concat())
    ]
}

/// Any float by its bits: subnormals, infinities and NaN with any payload are as likely as the rest.
pub(super) fn any_float() -> impl Strategy<Value = f64> {
    let edges = vec![
        0.0,
        -0.0,
        f64::MIN,
        f64::MAX,
        f64::MIN_POSITIVE,
        5e-324,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        1e22,
        1e23,
        9_007_199_254_740_993.0,
    ];
    prop_oneof![3 => any::<u64>().prop_map(f64::from_bits), 1 => prop::sample::select(edges), 1 => -1e6..1e6_f64]
}

/// Any value that FalkorDB holds unchanged, single or in a list.
pub(super) fn any_plain() -> impl Strategy<Value = Value> {
    let integer = || prop_oneof![any::<i64>(), prop::sample::select(vec![i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX])];
    prop_oneof![
        any::<bool>().prop_map(Value::Boolean),
        integer().prop_map(Value::Integer),
        any_float().prop_map(Value::Float),
        any_text().prop_map(Value::String),
        prop::collection::vec(any_float(), 1..20).prop_map(Value::Floats),
        prop::collection::vec(integer().prop_map(Value::Integer), 0..8).prop_map(Value::List),
        prop::collection::vec(any_text().prop_map(Value::String), 0..8).prop_map(Value::List),
    ]
}

/// Returns what must be read after `value` was written.
pub(super) fn expected(value: &Value) -> DecodedValue {
    let float = |float: &f64| if float.is_nan() { DecodedValue::Null } else { DecodedValue::Float(float.to_bits()) };
    match value {
        Value::Boolean(boolean) => DecodedValue::Boolean(*boolean),
        Value::Integer(integer) => DecodedValue::Integer(*integer),
        Value::Float(single) => float(single),
        Value::String(text) => DecodedValue::String(text.replace('\0', "")),
        Value::Floats(floats) => DecodedValue::List(floats.iter().map(float).collect()),
        Value::List(items) => DecodedValue::List(items.iter().map(expected).collect()),
        other => panic!("{} is converted", other.type_name()),
    }
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(value in any_plain()) {
        let (mut out, mut conversions) = (Vec::new(), Conversions::default());
        write_value(&mut ParameterText(&mut out), &value, &mut conversions);
        let text = String::from_utf8(out).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(decode(&text), Ok(expected(&value)), "{}", text);
        if let Value::String(string) = &value {
            prop_assert_eq!(conversions.nul_removed, u64::from(string.contains('\0')));
        }
    }
}

#[test]
fn the_reader_refuses_what_falkordb_refuses() {
    for text in ["", "inf", "NaN", "+5", "\"a", "\"\\u0041\"", "[1,]", "{1a:1}", "{a:1,a:2}", "1 2", "{`a:1}", "\"a\0\""] {
        assert!(decode(text).is_err(), "{text:?}");
    }
    assert_eq!(decode("{`a b`:[null,-1,1e400],c:\"\\\\\\\"\"}").map(|decoded| matches!(decoded, DecodedValue::Map(_))), Ok(true));
}
