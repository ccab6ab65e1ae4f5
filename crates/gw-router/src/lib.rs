//! A persistent radix-tree router for HTTP: path, host, method and headers to a value
