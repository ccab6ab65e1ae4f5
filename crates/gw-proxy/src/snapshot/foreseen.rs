//! What a snapshot would be after changes that are not made: its routes, and nothing that acts by itself.

use gw_core::{Change, Config};

use super::touched::Touched;
use super::{Snapshot, sorted};

impl Snapshot {
    /// Routes as they would be after `changes`, of which `config` is the result. Targets, plugins and certificates are
    /// those that run now: nobody probes, resolves or logs for what may never be.
    pub(crate) fn foreseen(&self, config: Config, changes: &[Change]) -> Self {
        let touched = Touched::by(changes, &self.config, &config);
        let mut next = self.copy(config, self.revision);
        for id in sorted(&touched.routes) {
            next.compile_route(id);
        }
        next
    }
}
