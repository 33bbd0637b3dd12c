//! What each plugin does to a query or a reply, one file a plugin. Their text in the Corefile is
//! read by the file of the same name in control.

pub mod acl;
pub mod any;
pub mod autopath;
pub mod bufsize;
pub mod cache;
pub mod cancel;
pub mod chaos;
pub mod dns64;
pub(crate) mod ends;
pub mod erratic;
pub mod errors;
pub mod file;
pub mod forward;
pub mod header;
pub mod hosts;
pub mod kubernetes;
pub mod loadbalance;
pub mod local;
pub mod log;
pub mod loop_;
pub mod metadata;
pub mod minimal;
pub mod no_aaaa;
pub mod nsid;
pub mod rewrite;
pub mod surroundings;
pub mod template;
#[cfg(test)]
pub(crate) mod testing;
pub mod timeouts;
pub mod transfer;
pub mod view;
pub mod whoami;
pub mod zones;
