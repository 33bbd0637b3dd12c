//! What counts as a right reply, beyond belonging to its question.

use std::str::FromStr;

use super::queries::HEADER_LEN;

/// A kind of reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expect {
    /// This RCODE.
    Rcode(u8),
    /// NOERROR with at least one record in the answer section.
    Answer,
    /// NOERROR with none.
    NoData,
}

/// A word that names no kind of reply.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{word:?} is none of answer, nodata, noerror, nxdomain, servfail, refused, notimp, formerr"
)]
pub struct ExpectError {
    word: Box<str>,
}

impl Expect {
    /// Whether a reply with this header is of this kind.
    pub const fn matches(self, header: &[u8; HEADER_LEN]) -> bool {
        let rcode = header[3] & 0x0f;
        let empty = header[6] == 0 && header[7] == 0;
        match self {
            Self::Rcode(expected) => rcode == expected,
            Self::Answer => rcode == 0 && !empty,
            Self::NoData => rcode == 0 && empty,
        }
    }
}

impl FromStr for Expect {
    type Err = ExpectError;

    fn from_str(word: &str) -> Result<Self, ExpectError> {
        Ok(match word.to_ascii_lowercase().as_str() {
            "answer" => Self::Answer,
            "nodata" => Self::NoData,
            "noerror" => Self::Rcode(0),
            "formerr" => Self::Rcode(1),
            "servfail" => Self::Rcode(2),
            "nxdomain" => Self::Rcode(3),
            "notimp" => Self::Rcode(4),
            "refused" => Self::Rcode(5),
            _ => return Err(ExpectError { word: word.into() }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_match_headers() {
        let header =
            |rcode: u8, answers: u8| [0, 0, 0x80, 0x80 | rcode, 0, 1, 0, answers, 0, 0, 0, 0];
        // word, NOERROR with records, NOERROR without, NXDOMAIN
        let cases = [
            ("answer", [true, false, false]),
            ("NODATA", [false, true, false]),
            ("noerror", [true, true, false]),
            ("nxdomain", [false, false, true]),
            ("servfail", [false, false, false]),
        ];
        for (word, expected) in cases {
            let expect: Expect = word.parse().unwrap();
            let found =
                [header(0, 1), header(0, 0), header(3, 0)].map(|header| expect.matches(&header));
            assert_eq!(found, expected, "{word}");
        }
        assert!("yes".parse::<Expect>().is_err());
    }
}
