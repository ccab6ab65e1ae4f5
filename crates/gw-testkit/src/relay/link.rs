//! One connection through the relay: two ways, each reading ahead of what it may write.

use std::io::{self, ErrorKind};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::{Fault, Orders, Rule, Shared, Way};

/// Bound: pieces read and not yet written, which matter only while they are delayed.
const AHEAD: usize = 1024;

/// Bytes read at once.
const PIECE: usize = 16 * 1024;

/// How often a second a slow way passes something on.
const STEPS: u32 = 50;

/// Passes bytes both ways until both have ended, one is cut, or all are: `cuts` is how often all had been before.
pub(super) async fn run(
    mut client: TcpStream,
    mut target: TcpStream,
    (orders, cuts): (watch::Receiver<Orders>, usize),
    shared: &Shared,
) {
    // One that has failed already shows it when it is read.
    let _quick = client.set_nodelay(true).and(target.set_nodelay(true));
    let ended = {
        let (from_client, to_client) = client.split();
        let (from_target, to_target) = target.split();
        let up = pass(from_client, to_target, Way::Up, orders.clone(), shared);
        let down = pass(from_target, to_client, Way::Down, orders.clone(), shared);
        let mut orders = orders;
        tokio::select! {
            ended = async { tokio::try_join!(up, down) } => ended.map(drop),
            // The sender goes only with the relay itself.
            _ = orders.wait_for(|orders| orders.cuts != cuts) => Err(ErrorKind::ConnectionReset.into()),
        }
    };
    // What fails on one side fails on the other.
    if ended.is_err() {
        reset(&client);
        reset(&target);
    }
}

/// Makes the end of the connection, when it is dropped, a reset.
pub(super) fn reset(stream: &TcpStream) {
    // One that has failed cannot be reset, nor need it.
    let _set = stream.set_zero_linger();
}

async fn pass(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    way: Way,
    orders: watch::Receiver<Orders>,
    shared: &Shared,
) -> io::Result<()> {
    let (sender, pieces) = mpsc::channel(AHEAD);
    let reading = read(from, way, orders.clone(), sender);
    let writing = write(to, way, orders, shared, pieces);
    tokio::try_join!(reading, writing).map(drop)
}

/// What is on its way.
enum Piece {
    /// Bytes, and when they are to arrive.
    Bytes(Bytes, Instant),
    /// The cut that comes after them.
    Cut,
}

/// Reads what may be read and sends it on; dropping the sender is the end.
async fn read(
    mut from: ReadHalf<'_>,
    way: Way,
    mut orders: watch::Receiver<Orders>,
    sender: mpsc::Sender<Piece>,
) -> io::Result<()> {
    let mut passed = 0;
    let mut buffer = BytesMut::new();
    loop {
        let rule = orders.borrow_and_update().rule(way);
        let fault = rule.at(passed);
        match fault {
            Fault::Cut => {
                // The writer cuts, once it has passed on what comes before.
                let _sent = sender.send(Piece::Cut).await;
                return Ok(());
            }
            Fault::HalfClose => {
                drop(sender);
                return swallow(from).await;
            }
            Fault::Hold => {
                changed(&mut orders).await;
                continue;
            }
            Fault::Pass | Fault::Delay(_) | Fault::Rate(_) => {}
        }
        buffer.reserve(PIECE);
        let most = rule.most(passed);
        let mut limited = (&mut from).take(most);
        let count = tokio::select! {
            count = limited.read_buf(&mut buffer) => count?,
            () = changed(&mut orders) => continue,
        };
        if count == 0 {
            return Ok(());
        }
        passed += count as u64;
        let later = match fault {
            Fault::Delay(later) => later,
            _ => Duration::ZERO,
        };
        let piece = Piece::Bytes(buffer.split().freeze(), Instant::now() + later);
        if sender.send(piece).await.is_err() {
            return Ok(()); // the writer has failed and says so itself
        }
    }
}

async fn write(
    mut to: WriteHalf<'_>,
    way: Way,
    orders: watch::Receiver<Orders>,
    shared: &Shared,
    mut pieces: mpsc::Receiver<Piece>,
) -> io::Result<()> {
    let mut free = Instant::now();
    let mut passed = 0;
    while let Some(piece) = pieces.recv().await {
        let Piece::Bytes(bytes, due) = piece else {
            return Err(ErrorKind::ConnectionReset.into());
        };
        sleep_until(due.max(free)).await;
        to.write_all(&bytes).await?;
        let fault = orders.borrow().rule(way).at(passed);
        if let Fault::Rate(rate) = fault {
            let takes = bytes.len() as f64 / f64::from(rate.max(1));
            free = free.max(Instant::now()) + Duration::from_secs_f64(takes);
        }
        passed += bytes.len() as u64;
        shared.passed.send_modify(|sum| match way {
            Way::Up => sum.up += bytes.len() as u64,
            Way::Down => sum.down += bytes.len() as u64,
        });
    }
    to.shutdown().await
}

impl Rule {
    /// What holds where so many bytes have passed.
    fn at(self, passed: u64) -> Fault {
        if passed < self.after {
            Fault::Pass
        } else {
            self.fault
        }
    }

    /// How many bytes may be read at once: not beyond where another fault begins, and little where they are slow.
    fn most(self, passed: u64) -> u64 {
        match self.at(passed) {
            Fault::Rate(rate) => u64::from(rate / STEPS).max(1),
            _ if passed < self.after => self.after - passed,
            _ => PIECE as u64,
        }
    }
}

/// Reads to the end for nobody.
async fn swallow(mut from: ReadHalf<'_>) -> io::Result<()> {
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await.map(drop)
}

/// Waits for other orders; for ever once there can be none, as when the relay is dropped.
async fn changed(orders: &mut watch::Receiver<Orders>) {
    if orders.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
