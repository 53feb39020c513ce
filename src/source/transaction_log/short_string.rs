//! Texts that the server packs into the words of their property, in one of thirteen encodings.

/// The most words of a property.
pub(super) const WORDS: usize = 4;

/// The first bits of the encoding's number, of the length and of the characters.
const WAY_AT: usize = 28;
const LENGTH_AT: usize = 33;
const TEXT_AT: usize = 39;

const LETTERS_AND_DIGITS: &str = " ABCDEFGHIJKLMNOPQRSTUVWXYZ01234_abcdefghijklmnopqrstuvwxyz56789";

/// The encodings with an alphabet: number, bits of a character, alphabet.
const ALPHABETS: [(u64, usize, &str); 10] = [
    (1, 4, "0123456789 .-+,'"),
    (2, 4, "0123456789 -:/+,"),
    (3, 5, " ABCDEFGHIJKLMNOPQRSTUVWXYZ_.-:/"),
    (4, 5, " abcdefghijklmnopqrstuvwxyz_.-:/"),
    (5, 5, ",abcdefghijklmnopqrstuvwxyz_.-+@"),
    // Five codes are not used.
    (6, 6, " abcdefghijklmnopqrstuvwxyz\0\0\0\0\x000123456789_.-:/+,'@|;*?&%#()$<>="),
    (7, 6, LETTERS_AND_DIGITS),
    (8, 6, " ABCDEFGHIJKLMNOPQRSTUVWXYZ_.-:/;abcdefghijklmnopqrstuvwxyz+,'@|"),
    (11, 4, "0123456789abcdef"),
    (12, 4, "0123456789ABCDEF"),
];

const UTF8: u64 = 0;
const LATIN1: u64 = 10;

/// The encoding for accented letters of Latin-1, and for letters and digits.
const ACCENTED: u64 = 9;
const ACCENTED_BITS: usize = 7;

/// Returns the text in these words; `None` if no text is packed this way.
pub(super) fn decode(words: &[u64]) -> Option<String> {
    let bits = Bits(words);
    let length = bits.at(LENGTH_AT, 6)? as usize;
    let codes = |width: usize| (0..length).map(move |at| bits.at(TEXT_AT + at * width, width));
    match bits.at(WAY_AT, 5)? {
        UTF8 => String::from_utf8(codes(8).map(|code| code.map(|code| code as u8)).collect::<Option<_>>()?).ok(),
        LATIN1 => codes(8).map(|code| code.map(|code| char::from(code as u8))).collect(),
        ACCENTED => codes(ACCENTED_BITS).map(|code| accented(code?)).collect(),
        way => {
            let (_, width, alphabet) = ALPHABETS.iter().find(|(number, ..)| *number == way)?;
            codes(*width).map(|code| letter(alphabet, code?)).collect()
        }
    }
}

fn letter(alphabet: &str, code: u64) -> Option<char> {
    let letter = alphabet.as_bytes().get(usize::try_from(code).ok()?)?;
    (*letter != 0).then_some(char::from(*letter))
}

fn accented(code: u64) -> Option<char> {
    match code {
        // These places of Latin-1 hold no letters.
        0x17 => Some('.'),
        0x37 => Some('-'),
        0..64 => char::from_u32(0xc0 + code as u32),
        _ => letter(LETTERS_AND_DIGITS, code - 64),
    }
}

/// The words as one row of bits, lowest bit first.
#[derive(Clone, Copy)]
struct Bits<'a>(&'a [u64]);

impl Bits<'_> {
    /// Returns up to eight bits from a place; `None` beyond the last word.
    fn at(self, place: usize, width: usize) -> Option<u64> {
        if place + width > self.0.len() * 64 {
            return None;
        }
        let (word, shift) = (place / 64, place % 64);
        let low = self.0[word] >> shift;
        let high = if shift + width > 64 { self.0[word + 1] << (64 - shift) } else { 0 };
        Some((low | high) & ((1 << width) - 1))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Packs codes as the server does.
    fn pack(way: u64, width: usize, codes: &[u64]) -> Vec<u64> {
        let mut words = vec![0_u64; WORDS];
        let mut set = |place: usize, width: usize, value: u64| {
            for bit in 0..width {
                words[(place + bit) / 64] |= (value >> bit & 1) << ((place + bit) % 64);
            }
        };
        set(WAY_AT, 5, way);
        set(LENGTH_AT, 6, codes.len() as u64);
        codes.iter().enumerate().for_each(|(at, code)| set(TEXT_AT + at * width, width, *code));
        words
    }

    #[test]
    fn every_letter_of_every_alphabet_is_read() {
        for (way, width, alphabet) in ALPHABETS {
            assert_eq!(alphabet.len(), 1 << width, "{way}");
            for (code, letter) in alphabet.chars().enumerate().filter(|(_, letter)| *letter != '\0') {
                let words = pack(way, width, &[code as u64; 7]);
                assert_eq!(decode(&words).unwrap(), letter.to_string().repeat(7));
            }
        }
        assert_eq!(decode(&pack(ACCENTED, 7, &[0, 0x16, 0x17, 0x18, 0x36])).unwrap(), "ÀÖ.Øö");
        assert_eq!(decode(&pack(ACCENTED, 7, &[64 + 1, 0x37, 0x3f])).unwrap(), "A-ÿ");
    }

    #[test]
    fn bytes_are_read() {
        let utf8: Vec<u64> = "žcé".bytes().map(u64::from).collect();
        assert_eq!(decode(&pack(UTF8, 8, &utf8)).unwrap(), "žcé");
        assert_eq!(decode(&pack(LATIN1, 8, &[0xe9, 0x41])).unwrap(), "éA");
        assert_eq!(decode(&[0]).unwrap(), "");
    }

    #[test]
    fn what_is_packed_otherwise_is_no_text() {
        assert_eq!(decode(&pack(13, 4, &[1])), None);
        assert_eq!(decode(&pack(6, 6, &[27])), None, "a code that is not used");
        assert_eq!(decode(&pack(UTF8, 8, &[0xff])), None);
        let long = pack(LATIN1, 8, &[0x41; 27]);
        assert_eq!(decode(&long[..2]), None, "longer than its words");
    }
}
