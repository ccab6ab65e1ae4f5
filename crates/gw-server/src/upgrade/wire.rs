//! What two processes say to each other while one takes over from the other: first the sockets, then words, a line each.

use std::io::{self, IoSlice, IoSliceMut, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

/// The version of all this. Two releases that do not agree on it part before anything has happened.
const VERSION: u64 = 1;

/// Bound: sockets that are handed over. The system takes no more in one message.
const SOCKETS: usize = 250;

/// Bound: the first line.
const LONGEST: u64 = 256 * 1024;

/// What is handed over.
#[derive(Debug)]
pub(crate) struct Handover<T> {
    /// The process that hands over.
    pub(crate) pid: u32,
    pub(crate) sockets: Vec<Handed<T>>,
}

/// A socket that is handed over.
#[derive(Debug)]
pub(crate) struct Handed<T> {
    pub(crate) name: Box<str>,
    pub(crate) is_foreign: bool,
    pub(crate) descriptor: T,
}

/// Words that the two exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// The new process could do all that it can without the store.
    Prepared,
    /// The store is the new process's.
    Yours,
    /// The new process serves.
    Serving,
    /// The old process accepts no more.
    Alone,
}

/// The way words go, in both directions.
#[derive(Debug)]
pub(crate) struct Line(BufReader<tokio::net::UnixStream>);

/// Sends what is handed over, all at once.
pub(crate) fn send(stream: &UnixStream, handover: &Handover<BorrowedFd<'_>>) -> io::Result<()> {
    if handover.sockets.len() > SOCKETS {
        return Err(io::Error::other("too many sockets to hand over"));
    }
    let list = handover
        .sockets
        .iter()
        .map(|handed| json!({ "name": handed.name, "foreign": handed.is_foreign }));
    let document = json!({ "version": VERSION, "pid": handover.pid, "sockets": list.collect::<Vec<_>>() });
    let mut text = document.to_string().into_bytes();
    text.push(b'\n');
    let descriptors: Vec<_> = handover.sockets.iter().map(|handed| handed.descriptor).collect();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("the sockets do not fit into a message"));
    }
    let sent = sendmsg(stream, &[IoSlice::new(&text)], &mut control, SendFlags::empty())?;
    // What did not fit goes without the descriptors, which have arrived with the first byte.
    let rest = text.get(sent..).unwrap_or_default();
    io::Write::write_all(&mut &*stream, rest)
}

/// Receives what is handed over.
pub(crate) fn receive(stream: &UnixStream) -> io::Result<Handover<OwnedFd>> {
    let mut text = vec![0; 16 * 1024];
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut text)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    text.truncate(received.bytes);
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let mut rest = io::Read::take(stream, LONGEST);
    let mut byte = [0];
    // Byte by byte: what comes after the line is not for us. It is short, and there once in a life.
    while text.last() != Some(&b'\n') {
        rest.read_exact(&mut byte)?;
        text.extend(byte);
    }
    read(&text, descriptors)
}

fn read(text: &[u8], descriptors: Vec<OwnedFd>) -> io::Result<Handover<OwnedFd>> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    let document: Value = serde_json::from_slice(text)?;
    if document["version"] != VERSION {
        return Err(wrong(
            "the other process is of a release that this one does not understand",
        ));
    }
    let list = document["sockets"]
        .as_array()
        .ok_or(wrong("it names no sockets"))?;
    if list.len() != descriptors.len() {
        return Err(wrong("not all sockets have come through"));
    }
    let pid = document["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    let sockets = list.iter().zip(descriptors).map(|(one, descriptor)| Handed {
        name: one["name"].as_str().unwrap_or_default().into(),
        is_foreign: one["foreign"] == true,
        descriptor,
    });
    Ok(Handover {
        pid: pid.ok_or(wrong("it does not say which process it is"))?,
        sockets: sockets.collect(),
    })
}

impl Word {
    const ALL: [Self; 4] = [Self::Prepared, Self::Yours, Self::Serving, Self::Alone];

    fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Yours => "yours",
            Self::Serving => "serving",
            Self::Alone => "alone",
        }
    }
}

impl Line {
    /// Takes the stream into the runtime this is called from.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self(BufReader::new(tokio::net::UnixStream::from_std(stream)?)))
    }

    pub(crate) async fn say(&mut self, word: Word) -> io::Result<()> {
        self.0.write_all(format!("{}\n", word.as_str()).as_bytes()).await
    }

    /// Waits for a word; none if the other process is gone.
    pub(crate) async fn hear(&mut self) -> io::Result<Option<Word>> {
        let mut line = String::new();
        match self.0.read_line(&mut line).await {
            Ok(0) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            read => read?,
        };
        let word = Word::ALL.into_iter().find(|word| word.as_str() == line.trim());
        word.map(Some).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "the other process says something strange",
            )
        })
    }
}

/// Two ends: one to keep, one for the other process.
pub(crate) fn pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (own, other) = UnixStream::pair()?;
    Ok((own, other.into()))
}

/// The end that was given to this process as its standard input, where `/dev/null` is from now on.
pub(crate) fn own_end() -> io::Result<UnixStream> {
    let input = io::stdin();
    let end = UnixStream::from(input.as_fd().try_clone_to_owned()?);
    end.peer_addr()?; // an error unless it is such a socket
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(end)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn sockets_arrive_with_their_names() {
        let (one, other) = UnixStream::pair().unwrap();
        let sockets: Vec<_> = (0..100)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let name = "x".repeat(500); // together more than is read at once
        let handover = Handover {
            pid: 7,
            sockets: sockets
                .iter()
                .map(|socket| Handed {
                    name: format!("{name}{:?}", socket.local_addr()).into(),
                    is_foreign: true,
                    descriptor: socket.as_fd(),
                })
                .collect(),
        };
        let received = std::thread::scope(|scope| {
            scope.spawn(|| send(&one, &handover).unwrap());
            receive(&other).unwrap()
        });
        assert_eq!((received.pid, received.sockets.len()), (7, 100));
        for (handed, socket) in received.sockets.into_iter().zip(&sockets) {
            let again = TcpListener::from(handed.descriptor);
            assert_eq!(again.local_addr().unwrap(), socket.local_addr().unwrap());
            assert_eq!(*handed.name, format!("{name}{:?}", socket.local_addr()));
        }
    }

    #[test]
    fn another_version_is_refused() {
        for text in [
            "{}",
            "{\"version\":2,\"sockets\":[]}",
            "nonsense",
            "{\"version\":1,\"sockets\":[]}",
        ] {
            assert!(read(text.as_bytes(), Vec::new()).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn words_arrive_in_order_and_the_end_is_noticed() {
        let (one, other) = UnixStream::pair().unwrap();
        let (mut one, mut other) = (Line::new(one).unwrap(), Line::new(other).unwrap());
        for word in Word::ALL {
            one.say(word).await.unwrap();
        }
        for word in Word::ALL {
            assert_eq!(other.hear().await.unwrap(), Some(word));
        }
        drop(one);
        assert_eq!(other.hear().await.unwrap(), None);
    }
}
