//! The store that a command works with, without a gateway.

use gw_admin::StoreIndex;
use gw_core::Kinds;
use gw_plugins::Registry;
use gw_store::Store;

use super::{CommandError, registry};
use crate::args::Args;
use crate::error::StartError;

/// A store, and what its entities are read by.
pub(super) struct Stored {
    pub(super) store: Store,
    pub(super) kinds: Kinds,
    pub(super) registry: Registry,
    /// Where it is, for messages.
    pub(super) place: Box<str>,
}

/// Opens the store of `--store`, or else the one in `--data-dir`.
pub(super) async fn open(args: &Args) -> Result<Stored, CommandError> {
    let registry = registry(args)?;
    let kinds = args.secrets.kinds(&registry)?;
    let index = StoreIndex::new(kinds.clone());
    let (place, opened) = match &args.store.store {
        Some(url) => {
            let opened = gw_store::open(url, index).await;
            let opened = opened.map_err(|source| StartError::ElsewhereStore { source })?;
            (opened.place(), opened)
        }
        None => {
            let url = format!("file:{}", args.data_dir.display());
            let opened = gw_store::open(&url, index).await;
            let opened = opened.map_err(|source| StartError::Store {
                data_dir: args.data_dir.clone(),
                source,
            })?;
            (args.data_dir.display().to_string().into(), opened)
        }
    };
    Ok(Stored {
        store: opened,
        kinds,
        registry,
        place,
    })
}
