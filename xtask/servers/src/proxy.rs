//! A TCP proxy that fails when told.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Forwards connections to a port of 127.0.0.1 until told otherwise. Dropped, it cuts them and listens no more.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    line: Arc<Line>,
}

impl Proxy {
    /// Listens on a free port and forwards to `port`.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let own = listener.local_addr().expect("it listens").port();
        let line = Arc::new(Line::default());
        let shared = Arc::clone(&line);
        thread::spawn(move || accept(&listener, port, &shared));
        Self { port: own, line }
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Forwards this many more bytes from the server, on all connections together, then [cuts](Self::cut).
    pub fn cut_after(&self, bytes_from_server: u64) {
        self.line.state().left = Some(bytes_from_server);
    }

    /// Resets all connections, and those that come from now on.
    pub fn cut(&self) {
        self.line.cut(&mut self.line.state());
    }

    /// Keeps connections open and forwards nothing more.
    pub fn stall(&self) {
        self.line.state().mode = Mode::Stalls;
    }

    /// Forwards again: what was stalled, and new connections after a cut.
    pub fn resume(&self) {
        let mut state = self.line.state();
        (state.mode, state.left) = (Mode::Forwards, None);
        self.line.changed.notify_all();
    }

    /// Whether it cut its connections.
    pub fn is_cut(&self) -> bool {
        self.line.state().mode == Mode::Cut
    }

    /// How many bytes came from the server so far and were forwarded.
    pub fn from_server(&self) -> u64 {
        self.line.state().from_server
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.line.state();
        state.over = true;
        self.line.cut(&mut state);
        drop(state);
        // The listener waits for a connection and ends with the next one.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Forwards,
    Stalls,
    Cut,
}

#[derive(Debug, Default)]
struct Line {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    mode: Mode,
    /// Bytes from the server until the cut.
    left: Option<u64>,
    from_server: u64,
    open: Vec<Arc<TcpStream>>,
    /// How often it was cut: what is older than a cut ends, even if it was resumed since.
    cuts: u64,
    over: bool,
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self, state: &mut State) {
        (state.mode, state.left) = (Mode::Cut, None);
        state.cuts += 1;
        for stream in state.open.drain(..) {
            reset_when_closed(&stream);
            // Wakes who reads from it, and tells the other side nothing.
            let _ = stream.shutdown(Shutdown::Read);
        }
        self.changed.notify_all();
    }

    /// How many of `bytes` may pass, once any may. None after a cut.
    fn pass(&self, bytes: usize, from_server: bool, cuts: u64) -> Option<usize> {
        let mut state = self.state();
        loop {
            match state.mode {
                _ if state.cuts != cuts => return None,
                Mode::Cut => return None,
                Mode::Forwards => break,
                Mode::Stalls => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
        if !from_server {
            return Some(bytes);
        }
        let all = bytes as u64;
        let passes = state.left.map_or(all, |left| left.min(all));
        state.from_server += passes;
        if let Some(left) = &mut state.left {
            *left -= passes;
        }
        usize::try_from(passes).ok()
    }

    fn cut_if_used_up(&self, cuts: u64) {
        let mut state = self.state();
        if state.cuts == cuts && state.left == Some(0) {
            self.cut(&mut state);
        }
    }
}

fn accept(listener: &TcpListener, port: u16, line: &Arc<Line>) {
    for client in listener.incoming().flatten() {
        let mut state = line.state();
        if state.over {
            return;
        }
        let server = match state.mode {
            Mode::Cut => None,
            Mode::Forwards | Mode::Stalls => TcpStream::connect(("127.0.0.1", port)).ok(),
        };
        let Some(server) = server else {
            reset_when_closed(&client);
            continue;
        };
        let (client, server) = (Arc::new(client), Arc::new(server));
        for stream in [&client, &server] {
            let _ = stream.set_nodelay(true);
            // A write that nobody takes must notice a cut, too.
            let _ = stream.set_write_timeout(Some(Duration::from_millis(50)));
            state.open.push(Arc::clone(stream));
        }
        let cuts = state.cuts;
        for (from, to, from_server) in [(&client, &server, false), (&server, &client, true)] {
            let (from, to, line) = (Arc::clone(from), Arc::clone(to), Arc::clone(line));
            thread::spawn(move || {
                pump(&from, &to, &line, from_server, cuts);
                line.state().open.retain(|open| !Arc::ptr_eq(open, &from));
            });
        }
    }
}

fn pump(mut from: &TcpStream, to: &TcpStream, line: &Line, from_server: bool, cuts: u64) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => {
                reset_when_closed(to);
                break;
            }
        };
        let Some(passes) = line.pass(read, from_server, cuts) else { return };
        if !write(to, &buffer[..passes], || line.state().cuts == cuts) {
            break;
        }
        line.cut_if_used_up(cuts);
    }
    if line.state().cuts == cuts {
        let _ = to.shutdown(Shutdown::Write);
    }
}

/// False if the other side is gone, or `go_on` says no.
fn write(mut to: &TcpStream, mut bytes: &[u8], go_on: impl Fn() -> bool) -> bool {
    while !bytes.is_empty() && go_on() {
        match to.write(bytes) {
            Ok(0) => return false,
            Ok(written) => bytes = &bytes[written..],
            Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return false,
        }
    }
    bytes.is_empty()
}

/// A network that breaks says no goodbye.
fn reset_when_closed(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server, the proxy before it, and a connection through both.
    fn connected() -> (Proxy, TcpStream, TcpStream) {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::to(server.local_addr().unwrap().port());
        let client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        (proxy, client, server.accept().unwrap().0)
    }

    fn read(mut from: &TcpStream) -> String {
        let mut text = String::new();
        // What came before a reset counts.
        let _ = from.read_to_string(&mut text);
        text
    }

    #[test]
    fn what_is_stalled_goes_on_or_is_cut() {
        let (proxy, client, mut server) = connected();
        proxy.stall();
        server.write_all(b"late").unwrap();
        assert_eq!(proxy.from_server(), 0);
        proxy.resume();
        drop(server);
        assert_eq!(read(&client), "late");

        let (proxy, client, mut server) = connected();
        proxy.stall();
        server.write_all(b"never").unwrap();
        proxy.cut();
        assert_eq!(read(&client), "");
    }

    #[test]
    fn a_cut_is_a_reset_after_the_bytes_that_were_allowed() {
        let (proxy, mut client, mut server) = connected();
        proxy.cut_after(3);
        server.write_all(b"12345").unwrap();
        let mut bytes = [0; 9];
        let mut got = 0;
        let error = loop {
            match client.read(&mut bytes[got..]) {
                Ok(0) => panic!("a goodbye, after {got} bytes"),
                Ok(more) => got += more,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(b"123".starts_with(&bytes[..got]), "a reset may overtake what came before it");
        assert!(proxy.is_cut());
    }
}
