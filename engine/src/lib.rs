//! The packet half of martlet.
