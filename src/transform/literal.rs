//! The smallest pieces of FalkorDB's parameter text: strings, names and numbers. Each appends to a buffer, so that a row of
//! hundreds of floats costs no allocation.
//!
//! The rules are those of FalkorDB's hand-written parser (`src/ast/param_parser.c` of 4.16.3), tried on a server.

use std::io::Write;

/// Appends a string in double quotes, and returns whether NUL had to be left out.
///
/// Only the backslash and the quote are escaped; line breaks, control bytes and all of UTF-8 are taken as they are. FalkorDB
/// keeps strings as C strings, so NUL cannot be stored.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) -> bool {
    let mut nul_removed = false;
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(place) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0)) {
        out.extend_from_slice(&rest[..place]);
        match rest[place] {
            0 => nul_removed = true,
            escaped => out.extend_from_slice(&[b'\\', escaped]),
        }
        rest = &rest[place + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
    nul_removed
}

/// Appends the name of a map's entry: bare if it is an identifier, in backticks otherwise. The name must not contain a backtick,
/// for which FalkorDB has no escape.
pub(crate) fn write_name(out: &mut Vec<u8>, name: &str) {
    if is_identifier(name) {
        out.extend_from_slice(name.as_bytes());
        return;
    }
    out.push(b'`');
    out.extend_from_slice(name.as_bytes());
    out.push(b'`');
}

fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Appends an integer; FalkorDB takes every `i64` exactly.
pub(crate) fn write_integer(out: &mut Vec<u8>, integer: i64) {
    write_display(out, integer);
}

/// Appends a float as the shortest text that reads back as the same `f64`, always with a point or an exponent, because FalkorDB
/// would otherwise read an integer.
///
/// FalkorDB refuses `inf`, but an overflow reads as infinity. NaN has no parameter text at all and becomes `null`, which
/// [`not_a_number_expression`](crate::model::prepared::not_a_number_expression) turns back.
pub(crate) fn write_float(out: &mut Vec<u8>, float: f64) {
    if float.is_finite() {
        out.extend_from_slice(ryu::Buffer::new().format_finite(float).as_bytes());
    } else if float.is_nan() {
        out.extend_from_slice(b"null");
    } else if float > 0.0 {
        out.extend_from_slice(b"1e400");
    } else {
        out.extend_from_slice(b"-1e400");
    }
}

/// The only 32-bit float, apart from its sign, that its own shortest text does not reproduce: FalkorDB reads text as a 64-bit
/// float and narrows it, and the 64-bit float for this text (7.038531e-26) lies exactly between two 32-bit floats. A test of all
/// floats found it.
pub(super) const TWICE_ROUNDED: u32 = 0x15AE_43FD;

/// Appends a finite 32-bit float as the shortest text that FalkorDB reads and narrows to the same float.
pub(crate) fn write_single(out: &mut Vec<u8>, float: f32) {
    let mut buffer = ryu::Buffer::new();
    let text =
        if float.abs().to_bits() == TWICE_ROUNDED { buffer.format_finite(f64::from(float)) } else { buffer.format_finite(float) };
    out.extend_from_slice(text.as_bytes());
}

/// Appends the `Display` text of a value, without a `String` in between.
pub(super) fn write_display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn strings_escape_only_what_the_parser_needs() {
        assert_eq!(text(|out| assert!(!write_string(out, ""))), r#""""#);
        assert_eq!(
            text(|out| assert!(!write_string(out, "a\"b\\c'd`\n\t\u{1}é🙂 עברית"))),
            "\"a\\\"b\\\\c'd`\n\t\u{1}é🙂 עברית\""
        );
        assert_eq!(text(|out| assert!(write_string(out, "\0a\0\0b\0"))), r#""ab""#);
    }

    #[test]
    fn names_stand_in_backticks_unless_they_are_identifiers() {
        for (name, written) in [
            ("uuid", "uuid"),
            ("_a1", "_a1"),
            ("1a", "`1a`"),
            ("a b", "`a b`"),
            ("a$", "`a$`"),
            ("Größe", "`Größe`"),
            ("x\"y", "`x\"y`"),
        ] {
            assert_eq!(text(|out| write_name(out, name)), written);
        }
    }

    #[test]
    fn floats_never_read_as_integers_and_infinities_overflow() {
        for (float, written) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e20, "1e20"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (f64::INFINITY, "1e400"),
            (f64::NEG_INFINITY, "-1e400"),
            (f64::NAN, "null"),
        ] {
            assert_eq!(text(|out| write_float(out, float)), written);
        }
    }

    #[test]
    fn integers_reach_both_ends() {
        assert_eq!(text(|out| write_integer(out, i64::MIN)), "-9223372036854775808");
        assert_eq!(text(|out| write_integer(out, i64::MAX)), "9223372036854775807");
    }

    /// Takes two minutes in release mode: `cargo test --release -- --ignored every_single_float`.
    #[test]
    #[ignore = "tries all 2^32 floats"]
    fn every_single_float_reads_back() {
        let mut out = Vec::new();
        for bits in 0..f32::INFINITY.to_bits() {
            out.clear();
            write_single(&mut out, f32::from_bits(bits));
            let read: f64 = std::str::from_utf8(&out).unwrap().parse().unwrap();
            assert_eq!((read as f32).to_bits(), bits);
        }
    }
}
