//! Connections that were used once and then do nothing.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::answer;
use crate::args::Hold;

/// Opens them, one after the other, says so and keeps them until standard input ends.
pub(crate) fn run(plan: &Hold) -> io::Result<()> {
    let held = open(plan)?;
    writeln!(io::stdout(), "holding {}", held.len())?;
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(())
}

fn open(plan: &Hold) -> io::Result<Vec<TcpStream>> {
    let request = format!("GET {} HTTP/1.1\r\nHost: bench.test\r\n\r\n", plan.path);
    (0..plan.connections)
        .map(|_| {
            let mut stream = TcpStream::connect(plan.target)?;
            stream.write_all(request.as_bytes())?;
            read(&mut stream, plan.expect)?;
            Ok(stream)
        })
        .collect()
}

fn read(stream: &mut TcpStream, expect: u64) -> io::Result<()> {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        all.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let Some(end) = answer::head_end(&all) else {
            continue;
        };
        let length = answer::content_length(all.get(..end).unwrap_or_default())?;
        if length != Some(expect) {
            return Err(io::Error::other(
                "an answer's body has another length than expected",
            ));
        }
        if (all.len() - end) as u64 >= expect {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin;

    #[test]
    fn as_many_are_held_as_were_asked_for() {
        let mut plan = Hold {
            target: origin::start(1).unwrap()[0],
            path: "/".to_owned(),
            expect: origin::SHORT.len() as u64,
            connections: 20,
        };
        assert_eq!(open(&plan).unwrap().len(), 20);
        plan.expect += 1;
        assert!(open(&plan).is_err());
    }
}
