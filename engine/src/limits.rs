//! Every bound of the engine, in one place.

/// Longest owner name on the wire, root label included (RFC 1035 §2.3.4).
pub const NAME_LEN_MAX: usize = 255;
/// Longest label (RFC 1035 §2.3.4).
pub const LABEL_LEN_MAX: usize = 63;
/// Most labels a name can have, the root not counted: 127 one-octet labels.
pub const LABELS_MAX: usize = 127;
/// Smallest payload size that a client is taken to accept (RFC 6891 §6.2.3).
pub const PAYLOAD_SIZE_MIN: usize = 512;
/// Largest DNS message: what the two-octet length of TCP can say (RFC 1035 §4.2.2).
pub const MESSAGE_LEN_MAX: usize = 65_535;
/// Largest datagram that is read. A query needs a name and an OPT; longer ones are cut by the
/// kernel and get FORMERR.
pub const QUERY_LEN_MAX: usize = 2_048;
/// Datagrams moved by one system call.
pub const BATCH_MAX: usize = 64;
/// Buffers that a worker's io_uring fills with datagrams before one of them must be answered.
pub const RING_BUFFERS: usize = 512;
/// Replies that a worker's io_uring sends at once.
pub const RING_REPLIES: usize = 256;
/// Compression pointers hold 14 bits (RFC 1035 §4.1.4).
pub const POINTER_MAX: usize = 0x3fff;
/// Look-ups that one query may cause inside the server (ExternalName leading to ExternalName in
/// another zone). CoreDNS has no bound here and relies on its stack.
pub const NESTING_MAX: u8 = 8;
/// Things that one query may need one after another (upstreams' replies, look-ups, pauses). None comes
/// near; a fault that makes one need the same thing for ever is to cost this one only.
pub const NEEDS_MAX: usize = 64;
/// CNAMEs followed inside a zone before the chain is taken for a loop, as CoreDNS.
pub const CNAME_CHAIN_MAX: usize = 11;
/// TCP connections served at once on a listening address; fewer where the process may not have
/// descriptors for four times as many. All addresses together have half of the descriptors. Newcomers
/// wait in the listen queue until one ends.
pub const TCP_CONNECTIONS_MAX: usize = 4_096;
/// Queries that may wait for one thread of the slow path; more are shed.
pub const SLOW_QUEUE_LEN: usize = 4_096;
/// Queries that one thread of the slow path works on at once. With upstreams gone and 5 seconds for
/// each, that is what bounds its memory.
pub const SLOW_IN_FLIGHT_MAX: usize = 16_384;
/// Queries of one connection that may be on the slow path; further ones wait unread.
pub const STREAM_IN_FLIGHT_MAX: usize = 256;

const _: () = assert!(QUERY_LEN_MAX >= 12 + NAME_LEN_MAX + 4 + 11);
const _: () = assert!(BATCH_MAX <= 1_024, "UIO_MAXIOV bounds one recvmmsg");
