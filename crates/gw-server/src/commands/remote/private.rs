//! Files that only their owner reads, written whole or not at all.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Writes a file in the place of the one that is there. What is no file, a pipe for one, is written to.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let place = match fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            return OpenOptions::new()
                .write(true)
                .open(path)?
                .write_all(text.as_bytes());
        }
        // Where a link leads to, and not the link.
        Ok(_) => fs::canonicalize(path)?,
        Err(_) => path.to_owned(),
    };
    let beside = beside(&place)?;
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, &place));
    if written.is_err() {
        // It may not have come into being.
        let _removed: io::Result<()> = fs::remove_file(&beside);
    }
    written
}

/// A name in the same folder that nobody else has.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", uuid::Uuid::new_v4().simple()));
    Ok(path.with_file_name(hidden))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_file_is_its_owners_and_changes_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("dump.yml"), dir.path().join("link.yml"));
        let check = |at: &Path, text: &str| {
            write(at, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        };
        check(&path, "first");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let before = fs::File::open(&path).unwrap();
        check(&path, "second");
        assert_eq!(
            io::read_to_string(before).unwrap(),
            "first",
            "who reads it reads it to its end"
        );
        symlink(&path, &link).unwrap();
        check(&link, "third");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            2,
            "nothing is left beside it"
        );
        write(&dir.path().join("nowhere/dump.yml"), "x").unwrap_err();
        write(Path::new("/dev/null"), "x").unwrap();
    }
}
