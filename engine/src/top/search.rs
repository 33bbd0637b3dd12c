//! What a client meant by a name that its search list made.
//!
//! With `ndots:5` a resolver asks for `www.example.com.NS.svc.ZONE`, `www.example.com.svc.ZONE` and
//! `www.example.com.ZONE` before it asks for `www.example.com`. The first three get NXDOMAIN, and
//! all stand for the last.

use crate::wire::FoldedName;

/// Names with fewer labels are a Service that does not exist rather than something outside.
const LABELS_MIN: usize = 2;

/// The octets of `name`, without a root label, that are left when the search suffix of the zone is
/// cut off; `apex` and `apex_labels` are the zone's. Call it for names that got NXDOMAIN. `None` if
/// too little is left to be a name outside of the cluster, or the name is not in the zone.
///
/// By its form `www.example.com.svc.ZONE` could be about a namespace `com`; `is_namespace` says
/// whether there is one.
pub fn meant<'n>(
    name: &'n FoldedName,
    apex: &[u8],
    apex_labels: usize,
    is_namespace: impl FnOnce(usize) -> bool,
) -> Option<&'n [u8]> {
    let above = name.labels_above(apex, apex_labels)?;
    let left = match above.checked_sub(1) {
        Some(svc) if name.label(svc) == b"svc" => match svc.checked_sub(1) {
            Some(namespace) if is_namespace(namespace) => namespace,
            _ => svc,
        },
        _ => above,
    };
    (left >= LABELS_MIN).then(|| &name.wire()[..name.offset(left)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::{count_labels, wire_from_text, write_presentation};

    #[test]
    fn what_is_meant_is_left_of_the_search_suffix() {
        let cases = [
            (
                "www.example.com.default.svc.cluster.local",
                "www.example.com.",
            ),
            ("www.example.com.svc.cluster.local", "www.example.com."),
            ("www.example.com.cluster.local", "www.example.com."),
            ("example.com.default.svc.cluster.local", "example.com."),
            // A Service that does not exist, in a namespace that does.
            ("redis.default.svc.cluster.local", ""),
            ("redis.cluster.local", ""),
            ("svc.cluster.local", ""),
            ("default.svc.cluster.local", ""),
            ("cluster.local", ""),
            ("www.example.com", ""),
            // `svc` is a label like any other further left.
            ("svc.example.com.cluster.local", "svc.example.com."),
        ];
        let apex = wire_from_text("cluster.local").unwrap();
        for (text, expected) in cases {
            let wire = wire_from_text(text).unwrap();
            let mut name = FoldedName::default();
            name.parse(&wire, 0).unwrap();
            let is_namespace = |label| name.label(label) == b"default";
            let mut found = String::new();
            if let Some(octets) = meant(&name, &apex, count_labels(&apex), is_namespace) {
                write_presentation(octets, &mut found).unwrap();
            }
            assert_eq!(found, expected, "{text}");
        }
    }
}
