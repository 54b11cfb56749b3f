//! Hands bytes from the thread that reads files to the task that stores them, in buffers that are used again.

use std::os::fd::AsFd;
use std::sync::mpsc as std_mpsc;

use bytes::Bytes;
use rustix::io;
use tokio::sync::mpsc;

use crate::error::{Error, ErrorKind, Result};

/// Size of a buffer.
const BUFFER: usize = 1 << 20;
/// Full buffers waiting for the task.
const QUEUE: usize = 3;
/// Empty buffers kept for later.
const SPARE: usize = 4;

/// The end that is written to.
pub(super) struct Pack {
    buffer: Box<[u8]>,
    used: usize,
    full: mpsc::Sender<Bytes>,
    home: std_mpsc::SyncSender<Box<[u8]>>,
    spare: std_mpsc::Receiver<Box<[u8]>>,
}

/// A buffer that goes back when its last reader drops it.
struct Lent {
    buffer: Box<[u8]>,
    used: usize,
    home: std_mpsc::SyncSender<Box<[u8]>>,
}

/// A writing end and the buffers that come out of it.
pub(super) fn channel() -> (Pack, mpsc::Receiver<Bytes>) {
    let (full, buffers) = mpsc::channel(QUEUE);
    let (home, spare) = std_mpsc::sync_channel(SPARE);
    (Pack { buffer: empty(), used: 0, full, home, spare }, buffers)
}

fn empty() -> Box<[u8]> {
    vec![0; BUFFER].into_boxed_slice()
}

impl Pack {
    /// Whether nobody wants more.
    pub(super) fn is_closed(&self) -> bool {
        self.full.is_closed()
    }

    /// Appends bytes.
    pub(super) fn put(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            let room = self.room()?;
            let length = room.len().min(data.len());
            room[..length].copy_from_slice(&data[..length]);
            self.used += length;
            data = &data[length..];
        }
        Ok(())
    }

    /// Appends zeros.
    pub(super) fn put_zeros(&mut self, mut count: u64) -> Result<()> {
        while count > 0 {
            let room = self.room()?;
            let length = usize::try_from(count).unwrap_or(usize::MAX).min(room.len());
            room[..length].fill(0);
            self.used += length;
            count -= length as u64;
        }
        Ok(())
    }

    /// Appends at most `length` bytes of a file from `offset` on with one call to the system; 0 at the file's end.
    pub(super) fn read(&mut self, file: impl AsFd, offset: u64, length: u64) -> Result<io::Result<u64>> {
        let room = self.room()?;
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(room.len());
        let read = io::retry_on_intr(|| io::pread(&file, &mut room[..length], offset));
        Ok(read.map(|read| {
            self.used += read;
            read as u64
        }))
    }

    /// Hands over what is left.
    pub(super) fn finish(mut self) -> Result<()> {
        if self.used > 0 { self.send() } else { Ok(()) }
    }

    /// The free end of the buffer, never empty.
    fn room(&mut self) -> Result<&mut [u8]> {
        if self.used == self.buffer.len() {
            self.send()?;
        }
        Ok(&mut self.buffer[self.used..])
    }

    fn send(&mut self) -> Result<()> {
        let next = self.spare.try_recv().unwrap_or_else(|_| empty());
        let buffer = std::mem::replace(&mut self.buffer, next);
        let lent = Lent { buffer, used: std::mem::take(&mut self.used), home: self.home.clone() };
        self.full
            .blocking_send(Bytes::from_owner(lent))
            .map_err(|_| Error::new(ErrorKind::Cancelled, "nobody takes the export any more"))
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.used]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // With enough spare ones, or with the export over, it is simply freed.
        let _ = self.home.try_send(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_and_buffers_come_back() {
        let (mut pack, mut buffers) = channel();
        let writer = std::thread::spawn(move || {
            for round in 0..40_u8 {
                pack.put(&vec![round; 100_000]).unwrap();
                pack.put_zeros(150_001).unwrap();
            }
            pack.finish().unwrap();
        });
        let mut all = Vec::new();
        let mut places = std::collections::HashSet::new();
        while let Some(buffer) = buffers.blocking_recv() {
            places.insert(buffer.as_ptr());
            all.extend_from_slice(&buffer);
        }
        writer.join().unwrap();
        assert_eq!(all.len(), 40 * 250_001);
        for (round, chunk) in all.chunks(250_001).enumerate() {
            assert!(chunk[..100_000].iter().all(|b| usize::from(*b) == round));
            assert!(chunk[100_000..].iter().all(|b| *b == 0));
        }
        assert!(places.len() < 10, "{} buffers for 10 fillings", places.len());
    }

    #[test]
    fn a_closed_channel_ends_the_writer() {
        let (mut pack, buffers) = channel();
        drop(buffers);
        assert!(pack.is_closed());
        assert_eq!(pack.put(&vec![0; 3 << 20]).unwrap_err().kind(), ErrorKind::Cancelled);
    }
}
