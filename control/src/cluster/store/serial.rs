//! Serials of the cluster's zones: Unix seconds of the last change, one for each state.

use std::time::{SystemTime, UNIX_EPOCH};

use martlet_engine::wire::record::is_newer;

use super::Store;

impl Store {
    /// Whether a change waits for the next second to get its serial, by [`Self::date`].
    pub fn is_undated(&self) -> bool {
        let imports = self.imports.as_ref().is_some_and(|it| it.is_undated());
        self.undated || self.undated_outside || imports
    }

    /// Gives what has changed its serial. What shares its second with the change before waits for the
    /// next one, which `is_over` says has come: a secondary that asked between the two would never learn
    /// of the later one.
    pub fn date(&mut self, is_over: bool) {
        if let Some(imports) = &mut self.imports {
            imports.date(is_over);
        }
        if self.undated
            && let Some(serial) = serial_after(self.index.serial(), is_over)
        {
            self.index.set_serial(serial);
            self.undated = false;
        }
        self.date_outside(is_over);
    }
}

/// The serial of a change, after this one: Unix seconds. `None` if it has to wait for the next, unless
/// that `is_over`; then the clock may have been set back.
pub(super) fn serial_after(last: u32, is_over: bool) -> Option<u32> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    // Serials are 32 bits wide and go round (RFC 1982).
    let now = now.as_secs() as u32;
    if last == 0 || is_newer(now, last) {
        return Some(now);
    }
    is_over.then(|| last.wrapping_add(1))
}
