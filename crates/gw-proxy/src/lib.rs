//! The gateway's data plane: listeners, routing, plugins, balancing, forwarding
