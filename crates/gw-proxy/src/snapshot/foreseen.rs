//! What a snapshot would be after changes that are not made: its routes and what TLS needs, and nothing that acts by
//! itself.

use gw_core::{Change, Config, Id, Kind, Service};

use super::Snapshot;
use super::touched::Touched;

impl Snapshot {
    /// Routes and certificates as they would be after `changes`, of which `config` is the result, and what would be wrong
    /// with TLS towards services. Targets and plugins are those that run now: nobody probes, resolves or logs for what may
    /// never be.
    pub(crate) fn foreseen(&self, config: Config, changes: &[Change]) -> Self {
        let touched = Touched::by(changes, &self.config, &config);
        let mut next = self.copy(config, self.revision);
        for id in touched.routes.sorted() {
            next.compile_route(id);
        }
        for id in touched.certificates.sorted() {
            next.compile_certificate(id);
        }
        for id in touched.services.sorted() {
            next.foresee_service(id);
        }
        next
    }

    /// Whether a service could be spoken with; what runs of it stays.
    fn foresee_service(&mut self, id: Id<Service>) {
        let made = self.config.service(id).map(|service| {
            let upstream = self.config.upstream_named(&service.target.host);
            self.service_tls(service, upstream.map(|upstream| &**upstream))
        });
        match made {
            Some(Err(error)) => {
                let kept = self.services.contains_key(&id);
                self.problem(Kind::Service, id.uuid(), &error, kept);
            }
            Some(Ok(_)) | None => self.solved(Kind::Service, id.uuid()),
        }
    }
}
