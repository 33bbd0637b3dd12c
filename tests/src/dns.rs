//! DNS messages as the tests see them: written octet by octet, since some must be wrong, and read
//! into plain facts that can be compared, printed and stored as JSON.

mod decode;
mod names;
mod query;
mod rdata;
mod reply;

pub use decode::{decode, decode_transfer};
pub use names::{class_code, class_text, name_to_wire, rcode_text, type_code, type_text};
pub use query::{Edns, Query};
pub use reply::{Answer, OptRecord, Record, Reply, Transfer};
