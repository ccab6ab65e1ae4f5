//! `kill -9` at any moment: every acknowledged write is there, and none is there by half.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use gw_store::{Op, Revision, Store};

use crate::support::{commit, contents};

/// Names the directory in which the child writes; unset in ordinary runs.
const DIRECTORY: &str = "GW_STORE_CRASH_DIRECTORY";

const ROUNDS: u64 = 24;

/// Kills the child whatever happens to the test.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Writer {
    fn start(directory: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([
            "--exact",
            "crash::every_acknowledged_write_survives_a_kill",
            "--nocapture",
        ]);
        command
            .env(DIRECTORY, directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// Reads so many acknowledgements, kills the writer, and reads what it had still said; returns the last.
    fn kill_after(mut self, lines: usize) -> u64 {
        let mut said = BufReader::new(self.0.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let number = |line: String| {
            line.strip_prefix("made ")
                .and_then(|number| number.parse::<u64>().ok())
        };
        let mut last = said.by_ref().filter_map(number).take(lines).last().unwrap_or(0);
        self.0.kill().unwrap();
        for made in said.filter_map(number) {
            last = made;
        }
        assert!(!self.0.wait().unwrap().success(), "it wrote until it was killed");
        last
    }
}

/// The child: commits pairs and says so, for ever.
async fn write_for_ever(directory: &Path) {
    let store = gw_store::open(directory.to_str().unwrap(), ()).await.unwrap();
    loop {
        let next = store.view().revision().0 + 1;
        let value = format!("{next} ").repeat(usize::try_from(next % 40).unwrap() * 50);
        let pair = ["left", "right"].map(|side| Op::put(format!("{side}/{next:08}"), value.clone()));
        let done = commit(&store, pair.to_vec()).await.unwrap();
        // On a line of its own, since the harness may have left one open; in one write, so that none is cut.
        let mut out = std::io::stdout().lock();
        out.write_all(format!("\nmade {}\n", done.revision).as_bytes())
            .unwrap();
        out.flush().unwrap();
    }
}

fn assert_whole(store: &Store, acknowledged: u64) {
    let head = store.view().revision();
    assert!(
        head >= Revision(acknowledged),
        "{acknowledged} was acknowledged, {head} is there"
    );
    assert!(
        head <= Revision(acknowledged + 1),
        "at most one commit was under way: {head}, {acknowledged}"
    );
    let sides = |side: &str| -> Vec<u64> {
        let name = |key: &gw_store::Key| key.as_str().rsplit('/').next().unwrap().parse().unwrap();
        store.view().list(side, None).map(|(key, _)| name(key)).collect()
    };
    let all: Vec<u64> = (1..=head.0).collect();
    assert!(
        sides("left/") == all && sides("right/") == all,
        "every commit is there, both halves of it"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_write_survives_a_kill() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        write_for_ever(Path::new(&directory)).await;
    }
    let temporary = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        // Seeded, not regular: 0 kills it while it starts, the others at some moment of the commit that follows.
        let lines = usize::try_from(round * round * 7919 % 23).unwrap();
        let directory = temporary.path().join(if round % 4 == 3 {
            format!("fresh{round}")
        } else {
            "long".into()
        });
        let fresh = round % 4 == 3;
        let last = Writer::start(&directory).kill_after(lines);
        let store = gw_store::open(directory.to_str().unwrap(), ()).await.unwrap();
        let before = if fresh { 0 } else { acknowledged };
        assert_whole(&store, last.max(before));
        if !fresh {
            acknowledged = store.view().revision().0;
        }
        assert!(
            lines == 0 || contents(&store.view()).len() as u64 >= 2 * (before + lines as u64),
            "it wrote"
        );
        store.close().await;
    }
    assert!(acknowledged > 100, "only {acknowledged} commits were made");
}
