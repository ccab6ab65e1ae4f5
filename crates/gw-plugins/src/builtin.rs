//! The plugins of this crate: one line each.

use crate::registry::Registry;

pub(crate) mod key_auth;

pub(crate) fn all() -> Registry {
    Registry::new().with::<key_auth::KeyAuth>()
}
