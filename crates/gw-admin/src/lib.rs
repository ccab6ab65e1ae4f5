//! The gateway's control plane: Kong's Admin API over a transactional store
