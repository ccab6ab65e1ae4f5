//! Threads that look up while another changes the table: each lookup sees one version of it, without waiting.

use std::error::Error;
use std::sync::Arc;
use std::thread;

use arc_swap::ArcSwap;
use gw_router::{Lookup, Router, Rule};

/// How often the table changes.
const VERSIONS: u32 = 2_000;
const READERS: usize = 2;

/// What a route leads to; here only the version that brought it.
type Table = Router<u32>;

#[expect(clippy::print_stdout, reason = "an example shows its results")]
fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut router = Table::new();
    for number in 0..10_000 {
        router.insert(Rule::path(&format!("/tenant-{number}/{{*rest}}"))?, 0)?;
    }
    let cart = router.insert(Rule::path("/shop/cart")?, 0)?;
    let checkout = router.insert(Rule::path("/shop/checkout")?, 0)?;
    // A clone is O(1), and shares with the original what neither changes.
    let published = Arc::new(ArcSwap::from_pointee(router.clone()));

    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let published = Arc::clone(&published);
            thread::spawn(move || read(&published))
        })
        .collect();
    for version in 1..=VERSIONS {
        // Two changes that belong together, and a route that comes or goes, become visible at once.
        router.replace(cart, Rule::path("/shop/cart")?, version)?;
        router.replace(checkout, Rule::path("/shop/checkout")?, version)?;
        let sale = router.insert(Rule::path("/shop/sale/{item}")?, version)?;
        if version % 2 == 0 {
            router.remove(sale);
        }
        published.store(Arc::new(router.clone()));
    }
    for reader in readers {
        let (lookups, versions) = reader.join().map_err(|_| "a reader panicked")?;
        println!("a reader made {lookups} lookups and saw {versions} versions, never half of one");
    }
    Ok(())
}

/// Looks up until the last version is there; counts lookups and versions.
fn read(published: &ArcSwap<Table>) -> (u64, u64) {
    let (mut lookups, mut versions, mut last) = (0, 0, u32::MAX);
    while last != VERSIONS {
        // What is loaded once stays as it is, however long it is used.
        let router = published.load();
        let version = |path| router.find(&Lookup::path_only(path)).map(|found| *found.value);
        let (cart, checkout) = (version("/shop/cart"), version("/shop/checkout"));
        assert_eq!(cart, checkout, "both of one version");
        assert_eq!(version("/tenant-77/orders"), Some(0), "nobody touches this one");
        lookups += 3;
        if let Some(seen) = cart.filter(|seen| *seen != last) {
            versions += 1;
            last = seen;
        }
    }
    (lookups, versions)
}
