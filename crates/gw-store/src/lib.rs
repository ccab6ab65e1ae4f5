//! A versioned, watchable configuration store: atomic commits over an append-only log
