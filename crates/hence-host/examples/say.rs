//! A service that logs, for `crates/hence/benches/logs.py`: lines of 100 bytes, each with its number.
//! `say NAME LINES RATE PIECE`: so many a second (0: as fast as it goes), written so many bytes at a time
//! (0: each by itself). When the first and the last was written is left in `/run/bench/NAME`, in nanoseconds
//! of CLOCK_MONOTONIC. `say spin SECONDS` keeps a processor busy.

use rustix::time::{ClockId, clock_gettime};
use std::io::{BufWriter, Write};
use std::time::{Duration, Instant};

/// A paced writer writes so often a second.
const TICKS: u64 = 100;

fn ns() -> u64 {
    let t = clock_gettime(ClockId::Monotonic);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    let name = words.first().cloned().unwrap_or_default();
    if name == "spin" {
        let until = Instant::now() + Duration::from_secs(number(1));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        return Ok(());
    }
    let (lines, rate, piece) = (number(1), number(2), number(3) as usize);
    let first = ns();
    let mut out = BufWriter::with_capacity(piece, std::io::stdout().lock().into_raw());
    let (begun, each) = (Instant::now(), (rate / TICKS).max(1));
    for n in 0..lines {
        let line = format!("{name:>6} {n:>10} {:x<82}\n", "");
        out.write_all(line.as_bytes())?;
        if rate > 0 && (n + 1) % each == 0 {
            out.flush()?;
            let due = begun + Duration::from_micros((n + 1) * 1_000_000 / rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    out.flush()?;
    std::fs::write(format!("/run/bench/{name}"), format!("{first} {}\n", ns()))
}

/// Standard output as a file: Rust's own cuts what is written into lines.
trait Raw {
    fn into_raw(self) -> std::fs::File;
}

impl Raw for std::io::StdoutLock<'_> {
    fn into_raw(self) -> std::fs::File {
        let fd = rustix::io::dup(&self).expect("standard output");
        fd.into()
    }
}
