//! Whole Corefiles.
