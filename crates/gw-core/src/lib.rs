//! The gateway's entities: services, routes, consumers, plugins, upstreams, targets and how they refer to each other
