//! Domain names in the words of people.

use martlet_engine::wire::name::wire_from_presentation;

/// A name in presentation form, escapes included (RFC 1035 §5.1), as lower-case wire form. `None` if
/// it is none.
pub(crate) fn wire_of(text: &str) -> Option<Box<[u8]>> {
    let mut wire = wire_from_presentation(text)?;
    // The length of a label is below the letters.
    wire.make_ascii_lowercase();
    Some(wire.into())
}
