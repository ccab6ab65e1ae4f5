//! A small HTTP/1.1 server with threads, which dies and comes back at the same port.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A server. It lives until the process ends.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) addr: SocketAddr,
    dead: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Upstream {
    pub(crate) fn start() -> Result<Arc<Self>, String> {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = bound.map_err(|error| format!("no port for an upstream: {error}"))?;
        let upstream = Arc::new(Self {
            addr: listener.local_addr().map_err(|error| error.to_string())?,
            dead: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let shared = Arc::clone(&upstream);
        thread::spawn(move || shared.accept(&listener));
        Ok(upstream)
    }

    /// Cuts every connection, and each that comes, until it comes back.
    pub(crate) fn die(&self) {
        self.dead.store(true, SeqCst);
        for stream in self.open().drain(..) {
            // It may be gone by itself.
            let _gone = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn come_back(&self) {
        self.dead.store(false, SeqCst);
    }

    fn open(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            if self.dead.load(SeqCst) {
                continue;
            }
            let shared = Arc::clone(self);
            thread::spawn(move || {
                let kept = stream.try_clone();
                if let Ok(kept) = kept {
                    shared.open().push(kept);
                }
                let peer = stream.peer_addr();
                // Either side may go at any time: that is what the soak is for.
                let _ended = serve(stream);
                shared.open().retain(|kept| {
                    kept.peer_addr()
                        .is_ok_and(|at| peer.as_ref().is_ok_and(|peer| *peer != at))
                });
            });
        }
    }
}

fn serve(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut write = stream.try_clone()?;
    let mut read = BufReader::new(stream);
    loop {
        let (mut path, mut length, mut chunked, mut upgrade) = (String::new(), 0, false, false);
        loop {
            let mut line = String::new();
            if read.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            if path.is_empty() {
                line.split(' ').nth(1).unwrap_or_default().clone_into(&mut path);
            } else if line.is_empty() {
                break;
            } else if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().map_err(io::Error::other)?;
            } else if line == "transfer-encoding: chunked" {
                chunked = true;
            } else if line == "upgrade: websocket" {
                upgrade = true;
            }
        }
        if upgrade {
            write.write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            )?;
            io::copy(&mut read, &mut write)?;
            return Ok(());
        }
        while chunked {
            let mut line = String::new();
            read.read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
            io::copy(&mut (&mut read).take(size + 2), &mut io::sink())?;
            chunked = size > 0;
        }
        io::copy(&mut (&mut read).take(length), &mut io::sink())?;
        let body = vec![b'x'; if path.contains("large") { 256 << 10 } else { 64 }];
        // In one piece: a small answer is there or it is not, whenever its server dies.
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        write.write_all(&[head.as_bytes(), &body].concat())?;
    }
}
