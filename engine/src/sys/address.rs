//! Socket addresses and control messages as the kernel lays them out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for one IPv6 PKTINFO, the larger of the two, aligned as `cmsghdr` wants it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct ControlBuf([u8; CONTROL_LEN]);

/// `CMSG_SPACE(sizeof(struct in6_pktinfo))`: a header of 16 octets and 20 of data, rounded up.
pub(super) const CONTROL_LEN: usize = 40;

impl ControlBuf {
    pub(super) const EMPTY: Self = Self([0; CONTROL_LEN]);

    pub(super) const fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.0.as_mut_ptr().cast()
    }

    /// The address that a datagram was sent to, from the PKTINFO in the first `len` octets.
    ///
    /// The interface index is cleared on the way, so that the same octets tell the kernel to send
    /// from this address by whatever route it has; link-local addresses keep theirs, as they mean
    /// nothing without.
    pub(super) fn local_address(&mut self, len: usize) -> Option<IpAddr> {
        const HEADER: usize = size_of::<libc::cmsghdr>();
        let bytes = self.0.get_mut(..len)?;
        let (header, data) = bytes.split_at_mut_checked(HEADER)?;
        let level = i32::from_ne_bytes(header.get(8..12)?.try_into().ok()?);
        let kind = i32::from_ne_bytes(header.get(12..16)?.try_into().ok()?);
        match (level, kind) {
            // struct in_pktinfo: interface index, local address, destination address.
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                data.get_mut(..4)?.fill(0);
                let local = <[u8; 4]>::try_from(data.get(4..8)?).ok()?;
                Some(Ipv4Addr::from(local).into())
            }
            // struct in6_pktinfo: destination address, interface index.
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let local = Ipv6Addr::from(<[u8; 16]>::try_from(data.get(..16)?).ok()?);
                if !local.is_unicast_link_local() {
                    data.get_mut(16..20)?.fill(0);
                }
                Some(local.into())
            }
            _ => None,
        }
    }
}

impl ControlBuf {
    /// Takes over control messages that the kernel wrote elsewhere, as [`Self::local_address`]
    /// reads them. Those that are longer than this has room for are none.
    pub(super) fn set(&mut self, octets: &[u8]) -> Option<IpAddr> {
        self.0.get_mut(..octets.len())?.copy_from_slice(octets);
        self.local_address(octets.len())
    }

    /// Makes this the control message that sends from `local`; returns its length.
    pub(super) fn set_local_address(&mut self, local: IpAddr) -> usize {
        const HEADER: usize = size_of::<libc::cmsghdr>();
        let (level, kind, data_len) = match local {
            IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO, 12),
            IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, 20),
        };
        self.0.fill(0);
        self.0[..8].copy_from_slice(&(HEADER + data_len).to_ne_bytes());
        self.0[8..12].copy_from_slice(&level.to_ne_bytes());
        self.0[12..16].copy_from_slice(&kind.to_ne_bytes());
        match local {
            // The interface index stays zero: by whatever route there is.
            IpAddr::V4(v4) => self.0[HEADER + 4..HEADER + 8].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => self.0[HEADER..HEADER + 16].copy_from_slice(&v6.octets()),
        }
        (HEADER + data_len).next_multiple_of(8)
    }
}

/// Writes a socket address as the kernel reads it; returns its length.
pub(super) fn socket_address_into(
    address: SocketAddr,
    storage: &mut libc::sockaddr_storage,
) -> libc::socklen_t {
    let address = socket2::SockAddr::from(address);
    let to = std::ptr::from_mut(storage).cast::<u8>();
    // SAFETY: `address` holds `len()` initialised octets of a socket address, which is never larger
    // than a `sockaddr_storage`; the two are different objects.
    unsafe {
        std::ptr::copy_nonoverlapping(address.as_ptr().cast::<u8>(), to, address.len() as usize);
    }
    address.len()
}

const _: () = assert!(
    size_of::<libc::cmsghdr>() == 16,
    "cmsghdr of a 64-bit Linux"
);

/// Reads a socket address that the kernel wrote. `None` for families other than IP.
pub(super) fn socket_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: `sockaddr_storage` is at least as large and as aligned as `sockaddr_in`, all
            // of whose bit patterns are valid, and the family says that the kernel wrote one.
            let v4 = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let address = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(address, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for `sockaddr_in6`.
            let v6 = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            let address = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(SocketAddrV6::new(address, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(level: i32, kind: i32, data: &[u8]) -> (ControlBuf, usize) {
        let mut buf = ControlBuf::EMPTY;
        buf.0[8..12].copy_from_slice(&level.to_ne_bytes());
        buf.0[12..16].copy_from_slice(&kind.to_ne_bytes());
        buf.0[16..16 + data.len()].copy_from_slice(data);
        (buf, 16 + data.len())
    }

    #[test]
    fn the_asked_address_is_found_and_the_interface_cleared() {
        let v4 = [7, 0, 0, 0, 127, 0, 0, 2, 127, 0, 0, 2];
        let (mut buf, len) = control(libc::IPPROTO_IP, libc::IP_PKTINFO, &v4);
        assert_eq!(
            buf.local_address(len),
            Some(Ipv4Addr::new(127, 0, 0, 2).into())
        );
        assert_eq!(buf.0[16..20], [0; 4]);

        for (text, index_stays) in [("fd00::1", false), ("fe80::1", true)] {
            let address = text.parse::<Ipv6Addr>().unwrap();
            let data = [&address.octets()[..], &[7, 0, 0, 0]].concat();
            let (mut buf, len) = control(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &data);
            assert_eq!(buf.local_address(len), Some(address.into()));
            assert_eq!(buf.0[32] == 7, index_stays, "{text}");
        }
        let (mut buf, len) = control(libc::SOL_SOCKET, 1, &[]);
        assert_eq!(buf.local_address(len), None);
        assert_eq!(buf.local_address(0), None);
    }
}
