//! A store in a directory: commit with a check, watch, and find everything again after a restart.

use std::error::Error;

use gw_store::{Indexer, Meta, Op, WatchItem};

/// Values are names here, and a name is looked up by `name/<name>`.
struct ByName;

impl Indexer for ByName {
    fn index(&self, _key: &str, value: &[u8], emit: &mut dyn FnMut(String)) {
        emit(format!("name/{}", String::from_utf8_lossy(value)));
    }
}

#[expect(clippy::print_stdout, reason = "an example shows its results")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::temp_dir().join(format!("gw-store-example-{}", std::process::id()));
    let url = directory.display().to_string();
    let store = gw_store::open(&url, ByName).await?;
    let mut watch = store.watch(store.view().revision());

    // The check and the change are one: of two creates of one name, exactly one is made.
    for key in ["services/1", "services/2"] {
        let outcome = store
            .commit(Meta::new("ann", "create a service"), |view| {
                match view.indexed("name/orders") {
                    Some(taken) => Err(format!("`orders` is taken by {taken}")),
                    None => Ok((vec![Op::put(key, "orders")], ())),
                }
            })
            .await;
        match outcome {
            Ok(made) => println!("{key}: made revision {}", made.revision),
            Err(error) => println!("{key}: refused, {error:?}"),
        }
    }

    while let Some(WatchItem::Commit(commit)) = watch.try_next() {
        println!(
            "seen: revision {} by {}, {} change(s)",
            commit.revision,
            commit.meta.author,
            commit.ops.len()
        );
    }

    // Closing lets go of the file, so that it can be opened again; a crash would lose nothing either.
    store.close().await;
    let again = gw_store::open(&url, ByName).await?;
    for (key, entry) in again.view().list("services/", None) {
        println!(
            "kept: {key} = {} since revision {}",
            String::from_utf8_lossy(&entry.value),
            entry.created
        );
    }
    again.close().await;
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
