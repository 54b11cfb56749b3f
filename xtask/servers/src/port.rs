//! Ports of 127.0.0.1: which are free, who listens, and whether HTTP is spoken there.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::place::random;
use crate::poll::until;

/// A port that nobody has now. It lies below those that the system gives to outgoing connections, so that a server finds it
/// free again when it starts again.
pub(crate) fn free_port() -> u16 {
    until("a free port", || {
        let port = 15_000 + u16::from_ne_bytes(random()) % 17_000;
        TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
    })
}

/// Whether the process listens on the port. Another's server may have taken it in between, and answers as ours would.
pub(crate) fn listens(pid: u32, port: u16) -> bool {
    let sockets = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default()
        + &fs::read_to_string(format!("/proc/{pid}/net/tcp6")).unwrap_or_default();
    let inodes = sockets.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (_, local) = words.get(1)?.rsplit_once(':')?;
        // The state 0A is LISTEN.
        (u16::from_str_radix(local, 16) == Ok(port) && words.get(3) == Some(&"0A")).then_some(*words.get(9)?)
    });
    let listening: Vec<String> = inodes.map(|inode| format!("socket:[{inode}]")).collect();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.filter_map(|file| fs::read_link(file.path()).ok()).any(|to| listening.iter().any(|socket| to == **socket))
}

/// Whether a plain GET of `path` is answered, and not by an error of the server's own.
pub(crate) fn answers(port: u16, path: &str) -> bool {
    let answer = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(request(path).as_bytes())?;
        let mut start = [0; 12];
        stream.read_exact(&mut start)?;
        std::io::Result::Ok(start)
    };
    answer().is_ok_and(|start| is_fine(&start))
}

/// The bytes that ask for `path`.
pub(crate) fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
}

/// Whether an answer begins well. Who may not, or has nothing there, is told so by a server that works.
pub(crate) fn is_fine(answer: &[u8]) -> bool {
    answer.starts_with(b"HTTP/1.") && answer.get(9).is_some_and(|class| (b'2'..=b'4').contains(class))
}
