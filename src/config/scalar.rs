//! The interpretations of a single value. The environment has only texts, so a text may represent another type.

use serde_yaml::Value;

/// The longest text that a message repeats.
const MAX_SHOWN: usize = 60;

pub(super) fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn whole_number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A number from 0 to 1; NaN is in no range.
pub(super) fn share(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| (0.0..=1.0).contains(number))
}

/// Returns the value as text for a message if it is a whole number, even a negative or too large one.
pub(super) fn number_text(value: &Value) -> Option<String> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return None,
    };
    let digits = text.strip_prefix('-').unwrap_or(&text);
    let is_number = (1..=MAX_SHOWN).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(text)
}

/// A text in quotes for a message, truncated if it is long.
pub(super) fn shown(text: &str) -> String {
    let mut start: String = text.chars().take(MAX_SHOWN).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    format!("{start:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_scalar_takes_a_text_for_what_it_says() {
        assert_eq!(flag(&"Yes".into()), Some(true));
        assert_eq!(flag(&" off ".into()), Some(false));
        assert_eq!(flag(&1.into()), None);
        assert_eq!(whole_number(&" 12 ".into()), Some(12));
        assert_eq!(whole_number(&"-1".into()), None);
        assert_eq!(whole_number(&1.5.into()), None);
        assert_eq!(share(&"0.25".into()), Some(0.25));
        assert_eq!(share(&f64::NAN.into()), None);
        assert_eq!(share(&1.into()), Some(1.0));
    }

    #[test]
    fn test_scalar_is_shown_briefly() {
        assert_eq!(number_text(&"-70000".into()).as_deref(), Some("-70000"));
        assert_eq!(number_text(&"12a".into()), None);
        assert_eq!(number_text(&"-".into()), None);
        assert_eq!(shown("a\nb"), "\"a\\nb\"");
        assert_eq!(shown(&"ä".repeat(61)), format!("\"{}…\"", "ä".repeat(60)));
    }
}
