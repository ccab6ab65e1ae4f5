//! The tables in the file, and the transactions on them.

use bytes::Bytes;
use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};

use crate::commit::{CommitId, Incarnation, Revision};
use crate::log::{AppendError, Head, LogError, Record};

pub(super) const ABOUT: TableDefinition<'_, &str, u128> = TableDefinition::new("about");
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
/// Of the commits kept, and of the one before them.
const IDS: TableDefinition<'_, u128, u64> = TableDefinition::new("ids");
const CHECKPOINTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("checkpoints");

/// The number of the layout.
pub(super) const FORMAT: &str = "format";
pub(super) const INCARNATION: &str = "incarnation";
/// The id of the newest commit.
const LAST: &str = "last";
/// The newest revision whose commit was dropped.
const PRUNED: &str = "pruned";

/// Bound: records handed out by one `read`, and their bytes.
const PAGE: (usize, usize) = (256, 8 * 1024 * 1024);

type Answer<T> = Result<T, redb::Error>;

/// Makes the tables of an empty log.
pub(super) fn create(transaction: &WriteTransaction, format: u8, incarnation: Incarnation) -> Answer<()> {
    let mut about = transaction.open_table(ABOUT)?;
    about.insert(FORMAT, u128::from(format))?;
    about.insert(INCARNATION, incarnation.as_u128())?;
    about.insert(LAST, CommitId::NONE.as_u128())?;
    about.insert(PRUNED, 0)?;
    transaction.open_table(LOG)?;
    transaction.open_table(IDS)?.insert(CommitId::NONE.as_u128(), 0)?;
    transaction.open_table(CHECKPOINTS)?;
    Ok(())
}

/// Makes the tables of layout 1 those of this one: it knew neither what was pruned nor the newest commit's id.
pub(super) fn upgrade(transaction: &WriteTransaction, format: u8) -> Answer<()> {
    let head = transaction
        .open_table(LOG)?
        .last()?
        .map_or(0, |(revision, _)| revision.value());
    let mut ids = transaction.open_table(IDS)?;
    ids.insert(CommitId::NONE.as_u128(), 0)?;
    let mut last = CommitId::NONE.as_u128();
    for entry in ids.iter()? {
        let (id, revision) = entry?;
        if revision.value() == head {
            last = id.value();
        }
    }
    let mut about = transaction.open_table(ABOUT)?;
    about.insert(LAST, last)?;
    about.insert(PRUNED, 0)?;
    about.insert(FORMAT, u128::from(format))?;
    Ok(())
}

/// Returns the layout's number and the incarnation, if they are there.
pub(super) fn about(database: &Database) -> Answer<(u128, Option<u128>)> {
    let table = database.begin_read()?.open_table(ABOUT)?;
    let format = table.get(FORMAT)?.map_or(0, |format| format.value());
    let incarnation = table.get(INCARNATION)?.map(|incarnation| incarnation.value());
    Ok((format, incarnation))
}

/// Begins a transaction that is on the disk when it is committed.
pub(super) fn begin(database: &Database) -> Answer<WriteTransaction> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    Ok(transaction)
}

pub(super) fn head(database: &Database, incarnation: Incarnation) -> Answer<Head> {
    head_in(&database.begin_read()?, incarnation)
}

/// Appends in one transaction; the outer error is redb's, the inner one the log's. `begun` is set before the step
/// whose failure leaves the outcome open.
pub(super) fn append(
    database: &Database,
    incarnation: Incarnation,
    expect: Head,
    record: &[u8],
    id: CommitId,
    begun: &mut bool,
) -> Answer<Result<Revision, AppendError>> {
    // Nobody else writes: what is read here holds until the end.
    let now = database.begin_read()?;
    if let Some(revision) = find_in(&now, id)? {
        return Ok(Err(AppendError::Duplicate { revision }));
    }
    if let Err(reset) = check_within_in(&now, incarnation, expect)? {
        return Ok(Err(AppendError::Rejected(reset)));
    }
    let head = head_in(&now, incarnation)?.revision;
    drop(now);
    if head != expect.revision {
        return Ok(Err(AppendError::Conflict { head }));
    }
    let made = head.next();
    let transaction = begin(database)?;
    transaction.open_table(LOG)?.insert(made.0, record)?;
    transaction.open_table(IDS)?.insert(id.as_u128(), made.0)?;
    transaction.open_table(ABOUT)?.insert(LAST, id.as_u128())?;
    *begun = true;
    transaction.commit()?;
    Ok(Ok(made))
}

pub(super) fn find(database: &Database, id: CommitId) -> Answer<Option<Revision>> {
    find_in(&database.begin_read()?, id)
}

/// Refuses a position that is not in this history.
pub(super) fn check_within(
    database: &Database,
    incarnation: Incarnation,
    position: Head,
) -> Answer<Result<(), LogError>> {
    check_within_in(&database.begin_read()?, incarnation, position)
}

pub(super) fn page(
    database: &Database,
    incarnation: Incarnation,
    after: Head,
) -> Answer<Result<Vec<Record>, LogError>> {
    let transaction = database.begin_read()?;
    if let Err(reset) = check_within_in(&transaction, incarnation, after)? {
        return Ok(Err(reset));
    }
    let upto = pruned_in(&transaction)?;
    if after.revision < upto {
        return Ok(Err(LogError::Compacted { upto }));
    }
    if after.revision >= head_in(&transaction, incarnation)?.revision {
        return Ok(Ok(Vec::new()));
    }
    let log = transaction.open_table(LOG)?;
    let (count, bytes) = PAGE;
    let mut page = Vec::new();
    let mut size = 0;
    for entry in log.range(after.revision.next().0..)? {
        let (revision, record) = entry?;
        let record = Bytes::copy_from_slice(record.value());
        size += record.len();
        page.push(Record {
            revision: Revision(revision.value()),
            bytes: record,
        });
        if page.len() >= count || size >= bytes {
            break;
        }
    }
    Ok(Ok(page))
}

pub(super) fn write_checkpoint(database: &Database, at: Revision, state: &[u8]) -> Answer<()> {
    let transaction = begin(database)?;
    transaction.open_table(CHECKPOINTS)?.insert(at.0, state)?;
    transaction.commit()?;
    Ok(())
}

pub(super) fn checkpoint_until(database: &Database, until: Revision) -> Answer<Option<Record>> {
    let checkpoints = database.begin_read()?.open_table(CHECKPOINTS)?;
    let newest = checkpoints.range(..=until.0)?.next_back().transpose()?;
    Ok(newest.map(|(revision, state)| Record {
        revision: Revision(revision.value()),
        bytes: Bytes::copy_from_slice(state.value()),
    }))
}

pub(super) fn prune(database: &Database, upto: Revision, keep: &[Revision]) -> Answer<()> {
    let transaction = begin(database)?;
    transaction.open_table(LOG)?.retain_in(..=upto.0, |_, _| false)?;
    transaction
        .open_table(IDS)?
        .retain(|_, revision| revision >= upto.0)?;
    transaction
        .open_table(CHECKPOINTS)?
        .retain_in(..upto.0, |revision, _| keep.contains(&Revision(revision)))?;
    {
        let mut about = transaction.open_table(ABOUT)?;
        let before = about.get(PRUNED)?.map_or(0, |pruned| pruned.value());
        about.insert(PRUNED, before.max(u128::from(upto.0)))?;
    }
    transaction.commit()?;
    Ok(())
}

/// Adds records to the tables of a log that nobody reads yet.
pub(super) fn add(
    transaction: &WriteTransaction,
    commits: &[(CommitId, Record)],
    checkpoints: &[Record],
) -> Answer<()> {
    let mut log = transaction.open_table(LOG)?;
    let mut ids = transaction.open_table(IDS)?;
    for (id, record) in commits {
        log.insert(record.revision.0, &*record.bytes)?;
        ids.insert(id.as_u128(), record.revision.0)?;
    }
    let mut kept = transaction.open_table(CHECKPOINTS)?;
    for record in checkpoints {
        kept.insert(record.revision.0, &*record.bytes)?;
    }
    Ok(())
}

/// Says where such a log begins and ends.
pub(super) fn stand(transaction: &WriteTransaction, pruned: Revision, last: Option<CommitId>) -> Answer<()> {
    let mut about = transaction.open_table(ABOUT)?;
    about.insert(PRUNED, u128::from(pruned.0))?;
    if let Some(last) = last {
        about.insert(LAST, last.as_u128())?;
    }
    Ok(())
}

pub(super) fn pruned(database: &Database) -> Answer<Revision> {
    pruned_in(&database.begin_read()?)
}

// --- in one transaction ---

fn find_in(transaction: &ReadTransaction, id: CommitId) -> Answer<Option<Revision>> {
    let ids = transaction.open_table(IDS)?;
    Ok(ids.get(id.as_u128())?.map(|revision| Revision(revision.value())))
}

fn head_in(transaction: &ReadTransaction, incarnation: Incarnation) -> Answer<Head> {
    let about = transaction.open_table(ABOUT)?;
    let last = about.get(LAST)?.map(|id| CommitId::from_u128(id.value()));
    let revision = match last.filter(|last| *last != CommitId::NONE) {
        Some(last) => transaction.open_table(IDS)?.get(last.as_u128())?,
        None => None,
    };
    // The log is asked only if need be: its newest commit may be large, and would be read whole.
    let revision = match revision {
        Some(revision) => Revision(revision.value()),
        None => match transaction.open_table(LOG)?.last()? {
            Some((revision, _)) => Revision(revision.value()),
            None => pruned_in(transaction)?,
        },
    };
    Ok(Head {
        incarnation,
        revision,
        last,
    })
}

fn pruned_in(transaction: &ReadTransaction) -> Answer<Revision> {
    let pruned = transaction
        .open_table(ABOUT)?
        .get(PRUNED)?
        .map_or(0, |pruned| pruned.value());
    Ok(Revision(u64::try_from(pruned).unwrap_or(u64::MAX)))
}

fn check_within_in(
    transaction: &ReadTransaction,
    incarnation: Incarnation,
    position: Head,
) -> Answer<Result<(), LogError>> {
    let head = head_in(transaction, incarnation)?;
    let mut here = position.incarnation == incarnation && position.revision <= head.revision;
    if let Some(last) = position.last
        && here
        && position.revision >= pruned_in(transaction)?
    {
        let made = transaction.open_table(IDS)?.get(last.as_u128())?;
        here = made.is_some_and(|made| made.value() == position.revision.0);
    }
    Ok(if here {
        Ok(())
    } else {
        Err(LogError::Reset { head })
    })
}
