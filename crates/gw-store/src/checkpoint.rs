//! `Checkpoints`: what was served last, in files beside a store that may not answer when it is needed.
//!
//! A checkpoint is one file, written under another name, synced, renamed, and its directory synced: it is there whole
//! or not at all. The last few are kept, and where the newest cannot be read, the one before it serves.
//!
//! ```text
//! "gw-ckpt\n"  format u8  checksum u32 of all that follows
//! incarnation u128  revision u64  hash [u8; 32]  time u64 (ms)  build (length u32, text)
//! former count u32, each: key (length u32, text), value (length u32, bytes)
//! contents (length u64, as Contents::encode has them, with a format and a checksum of their own)
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::codec::DecodeError;
use crate::commit::{Incarnation, Key, Revision};
use crate::contents::Contents;
use crate::hash::ContentHash;

const MAGIC: &[u8; 8] = b"gw-ckpt\n";

/// The format this release writes, and the newest it reads.
const VERSION: u8 = 1;

/// Magic, format and checksum.
const HEADER: usize = MAGIC.len() + 1 + 4;

const SUFFIX: &str = "checkpoint";

/// The suffix of what is not whole yet.
const UNFINISHED: &str = "unfinished";

/// A directory of checkpoints, newest numbered highest.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    directory: PathBuf,
    keep: usize,
}

/// Contents that were served, and what is known about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// What the store held.
    pub contents: Contents,
    /// What was served instead of these entries' values, which could not be used.
    pub former: Vec<(Key, Bytes)>,
    /// When it was written, in whole milliseconds.
    pub at: SystemTime,
    /// The release that wrote it.
    pub build: Box<str>,
}

/// What a directory of checkpoints has to offer.
#[derive(Debug, Default)]
pub struct Newest {
    /// The newest checkpoint that can be read; none is no error, so starts a new node.
    pub checkpoint: Option<Checkpoint>,
    /// Newer ones that cannot be read, and why.
    pub unreadable: Vec<CheckpointError>,
}

/// Why a checkpoint was not written or cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The disk refuses.
    #[error("cannot use `{}`; check that the disk has room and that this user may write there", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It was written by a newer release.
    #[error("`{}` has format {found}, this release reads up to {VERSION}; install the release that wrote it", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The format it has.
        found: u8,
    },
    /// It was cut or overwritten, or is something else.
    #[error("`{}` is not a whole checkpoint; it can be removed", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: DecodeError,
    },
}

impl Checkpoints {
    /// Checkpoints in `directory`, made when the first is written, of which the last `keep` are kept, at least one.
    pub fn in_directory(directory: impl Into<PathBuf>, keep: usize) -> Self {
        Self {
            directory: directory.into(),
            keep: keep.max(1),
        }
    }

    /// Returns where they are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Reads the newest checkpoint that can be read. Blocks.
    ///
    /// # Errors
    /// The directory is there and cannot be listed. That a file cannot be read is told beside the one that can.
    pub fn newest(&self) -> Result<Newest, CheckpointError> {
        let mut newest = Newest::default();
        for (_, path) in self.numbered()?.into_iter().rev() {
            match read(&path) {
                Ok(checkpoint) => {
                    newest.checkpoint = Some(checkpoint);
                    break;
                }
                Err(error) => newest.unreadable.push(error),
            }
        }
        Ok(newest)
    }

    /// Writes one as the newest, and removes those there are too many of. When this returns, it survives a loss of
    /// power. Blocks.
    ///
    /// # Errors
    /// The disk refuses; what was there before is as it was.
    pub fn write(&self, checkpoint: &Checkpoint) -> Result<PathBuf, CheckpointError> {
        let of_directory = |source| CheckpointError::Io {
            path: self.directory.clone(),
            source,
        };
        make_directory(&self.directory).map_err(of_directory)?;
        let before = self.numbered()?;
        let number = before.last().map_or(1, |(number, _)| number.saturating_add(1));
        let path = self.directory.join(format!("{number:012}.{SUFFIX}"));
        let unfinished = path.with_extension(UNFINISHED);
        let of_file = |source| CheckpointError::Io {
            path: unfinished.clone(),
            source,
        };
        if let Err(error) = write_synced(&unfinished, &encode(checkpoint)) {
            // A full disk must not stay full of what is of no use.
            fs::remove_file(&unfinished).ok();
            return Err(of_file(error));
        }
        fs::rename(&unfinished, &path).map_err(of_file)?;
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(of_directory)?;
        let too_many = (before.len() + 1).saturating_sub(self.keep);
        for (_, old) in before.iter().take(too_many) {
            // One too many harms nobody, and the next write tries again.
            fs::remove_file(old).ok();
        }
        Ok(path)
    }

    /// The checkpoints there are, oldest first.
    fn numbered(&self) -> Result<Vec<(u64, PathBuf)>, CheckpointError> {
        let failed = |source| CheckpointError::Io {
            path: self.directory.clone(),
            source,
        };
        let files = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files.map_err(failed)?,
        };
        let mut found = Vec::new();
        for file in files {
            let path = file.map_err(failed)?.path();
            let number = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse::<u64>().ok());
            if let Some(number) = number
                && path.extension().is_some_and(|suffix| suffix == SUFFIX)
            {
                found.push((number, path));
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    // There are credentials in it.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn read(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let bytes = fs::read(path).map_err(|source| CheckpointError::Io {
        path: path.to_owned(),
        source,
    })?;
    decode(&bytes).map_err(|source| match source {
        DecodeError::NewerFormat { found } => CheckpointError::NewerFormat {
            path: path.to_owned(),
            found,
        },
        source => CheckpointError::Damaged {
            path: path.to_owned(),
            source,
        },
    })
}

// --- the bytes ---

fn encode(checkpoint: &Checkpoint) -> BytesMut {
    let contents = checkpoint.contents.encode();
    let mut out = BytesMut::with_capacity(HEADER + 256 + contents.len());
    out.put_slice(MAGIC);
    out.put_u8(VERSION);
    out.put_u32_le(0);
    out.put_u128_le(checkpoint.contents.incarnation().as_u128());
    out.put_u64_le(checkpoint.contents.revision().0);
    out.put_slice(&checkpoint.contents.hash().to_bytes());
    out.put_u64_le(millis(checkpoint.at));
    put_bytes(&mut out, checkpoint.build.as_bytes());
    out.put_u32_le(u32::try_from(checkpoint.former.len()).unwrap_or(u32::MAX));
    for (key, value) in &checkpoint.former {
        put_bytes(&mut out, key.as_str().as_bytes());
        put_bytes(&mut out, value);
    }
    out.put_u64_le(contents.len() as u64);
    out.put_slice(&contents);
    let (header, body) = out.split_at_mut(HEADER);
    let sum = crc32fast::hash(body);
    for (place, byte) in header.iter_mut().skip(MAGIC.len() + 1).zip(sum.to_le_bytes()) {
        *place = byte;
    }
    out
}

fn decode(bytes: &[u8]) -> Result<Checkpoint, DecodeError> {
    let Some((header, mut body)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(if bytes.is_empty() {
            DecodeError::Empty
        } else {
            DecodeError::Malformed
        });
    };
    let mut header = header.strip_prefix(MAGIC).ok_or(DecodeError::Malformed)?;
    let found = header.get_u8();
    if found > VERSION {
        return Err(DecodeError::NewerFormat { found });
    }
    if found == 0 || header.get_u32_le() != crc32fast::hash(body) {
        return Err(DecodeError::Checksum);
    }
    let incarnation = Incarnation::from_u128(body.try_get_u128_le().map_err(malformed)?);
    let revision = Revision(body.try_get_u64_le().map_err(malformed)?);
    let (hash, rest) = body.split_first_chunk::<32>().ok_or(DecodeError::Malformed)?;
    let hash = ContentHash::from_bytes(*hash);
    body = rest;
    let at = Duration::from_millis(body.try_get_u64_le().map_err(malformed)?);
    let at = UNIX_EPOCH.checked_add(at).ok_or(DecodeError::Malformed)?;
    let build = text(&mut body)?.into();
    let mut former = Vec::new();
    for _ in 0..body.try_get_u32_le().map_err(malformed)? {
        let key = Key::from(text(&mut body)?);
        former.push((key, Bytes::copy_from_slice(slice(&mut body)?)));
    }
    let length = body.try_get_u64_le().map_err(malformed)?;
    if length != body.len() as u64 {
        return Err(DecodeError::Malformed);
    }
    let contents = Contents::decode(body)?;
    if (contents.incarnation(), contents.revision(), contents.hash()) != (incarnation, revision, hash) {
        return Err(DecodeError::Misplaced {
            found: contents.revision(),
        });
    }
    Ok(Checkpoint {
        contents,
        former,
        at,
        build,
    })
}

fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Bound: keys, values and names of releases are far below 4 GiB, so that no length is cut.
fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

fn slice<'a>(body: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let length = body.try_get_u32_le().map_err(malformed)? as usize;
    let (taken, rest) = body.split_at_checked(length).ok_or(DecodeError::Malformed)?;
    *body = rest;
    Ok(taken)
}

fn text<'a>(body: &mut &'a [u8]) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(slice(body)?).map_err(|_| DecodeError::Malformed)
}

fn malformed(_: bytes::TryGetError) -> DecodeError {
    DecodeError::Malformed
}

#[cfg(test)]
mod tests;
