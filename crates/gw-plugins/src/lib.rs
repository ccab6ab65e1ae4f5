//! Write a gateway plugin, and test it without a server; the built-in plugins
