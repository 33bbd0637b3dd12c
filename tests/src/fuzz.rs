//! What must hold for any input: the bodies of the fuzz targets in `tests/fuzz`, which the tests here
//! run with a few inputs, so that they are compiled and true wherever the other tests are.

mod answer;
mod cluster;
mod corefile;
mod packet;
mod upstream_reply;

pub use corefile::corefile;
pub use packet::packet;
pub use upstream_reply::upstream_reply;

/// The input cut at each place, and with each of its octets replaced by some that mean something.
#[cfg(test)]
fn spoilt(input: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let cut = (0..=input.len()).map(|len| input[..len].to_vec());
    let replaced = (0..input.len()).flat_map(move |place| {
        [0, 1, 41, 63, 64, 0xc0, 0xff].map(|octet| {
            let mut input = input.to_vec();
            input[place] = octet;
            input
        })
    });
    cut.chain(replaced)
}
