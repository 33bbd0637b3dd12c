//! Corefile: text to typed directives.
