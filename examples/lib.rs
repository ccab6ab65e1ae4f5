//! Runnable examples, one file each; this library is empty.
