//! A versioned, watchable configuration store: atomic commits over an append-only log.
//!
//! ```
//! # use gw_store::{Meta, Op, WatchItem};
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let store = gw_store::open("memory:", ()).await?;
//! let mut watch = store.watch(store.view().revision());
//! let done = store
//!     .commit(Meta::new("ann", "first service"), |view| match view.get("services/a") {
//!         Some(_) => Err(std::io::Error::other("taken")), // refused: nothing is written
//!         None => Ok((vec![Op::put("services/a", r#"{"port":80}"#)], ())),
//!     })
//!     .await?;
//! let WatchItem::Commit(commit) = watch.next().await else { panic!("a commit came first") };
//! assert_eq!((commit.revision, commit.meta.author.as_str()), (done.revision, "ann"));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it works
//!
//! ```text
//!   Store::commit ──▶ closure looks at View ──▶ CommitLog::append(expect head, bytes, id)
//!        ▲                    │ refuses              │ conflict: read what came first, ask the closure again
//!        │                    ▼                      ▼
//!   Timeline: view at the head + recent commits ◀── applied once, in order, whoever wrote it
//!        │
//!        ├──▶ Store::view    a persistent map: a clone is O(1) and never changes
//!        └──▶ Store::watch   whole commits after a revision
//! ```
//!
//! A backend is only a [`CommitLog`]: [`MemoryLog`], [`RedbLog`] in one file, or `EtcdLog` (feature `etcd`), which
//! several processes share. Views, watches, retries, history and checkpoints are written once, above it. The store never
//! looks inside a value; an [`Indexer`] handed in at opening derives index keys from it, so that uniqueness and
//! references are looked up in the same view as everything else; after opening they are made when they are first asked for.
//! Each thousand commits or more the whole contents are
//! kept as a checkpoint, and opening reads only what came after it.
//!
//! Commits are chained: each names the one before it and the [`ContentHash`] of what it leads to. So a log that was wiped,
//! or put back from a backup and went on otherwise, is told from one that only went on: the store then reads the history
//! that is there, and its watches say [`WatchItem::Reset`]. [`Store::history`], [`Store::at`] and [`View::differences`]
//! look back as far as [`Retention`] keeps commits; [`Store::backup`] copies all of it to a file while others write.
//!
//! # Guarantees
//!
//! - A commit is atomic, and durable when [`Store::commit`] returns, as far as the backend is: [`RedbLog`] survives
//!   `kill -9` and loss of power, [`MemoryLog`] nothing.
//! - Every check a commit's closure makes holds for the contents the commit changes.
//! - A watch delivers every commit after its revision, whole, in order and exactly once, or says why not.
//! - Cancel safety: every future may be dropped; a commit is then whole or absent, and the view tells which.
//! - Memory: contents, plus recent commits for watches up to 32 MiB, plus the backend's cache (8 MiB for redb).
//! - No panic on input or on damaged files; only calls outside a tokio runtime panic.
//!
//! # What it does not do
//!
//! It keeps no secrets sealed and validates nothing: values are the caller's, and so is what a rollback makes of an
//! earlier view. Closures do not wait: what a check needs is in the view or brought along.

mod announced;
mod backup;
pub mod checkpoint;
mod codec;
mod commit;
mod contents;
#[cfg(feature = "contract")]
pub mod contract;
mod difference;
mod embedded;
mod error;
#[cfg(feature = "etcd")]
mod etcd;
mod hash;
mod history;
mod index;
mod log;
mod memory;
mod open;
mod replay;
mod retention;
mod store;
mod timeline;
mod view;
mod watch;

pub use backup::{Backup, backup_file};
pub use codec::DecodeError;
pub use commit::{Commit, CommitId, Incarnation, Key, MAX_KEY, MAX_VALUE, Meta, Op, Revision};
pub use contents::Contents;
pub use difference::Difference;
pub use embedded::RedbLog;
pub use error::{BackupError, CommitError, HistoryError, OpenError, Part};
#[cfg(feature = "etcd")]
pub use etcd::EtcdLog;
pub use hash::ContentHash;
pub use index::Indexer;
pub use log::{Announced, AppendError, BoxError, BoxFuture, CommitLog, Freshness, Head, LogError, Record};
pub use memory::MemoryLog;
pub use open::{is_shared, open, open_log, open_when_free};
pub use retention::Retention;
pub use store::{Committed, Info, Store};
pub use view::{Entry, View};
pub use watch::{Watch, WatchItem};
