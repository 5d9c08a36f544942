//! foo: tells the prime factors of numbers, from a table that it holds in memory (about 2.4 MiB in all).
//!
//! `--listener-on-stdin`: answer connections on the listening unix socket that stands on descriptor 0. One
//! connection sends one line with a number and gets one line back, which also names the process that
//! answered. Without it, foo holds its table and sleeps, as a foo does that nobody has asked yet.
//! It does not daemonize, write files, or catch signals: SIGTERM ends it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// Numbers below this have a row in the table. With 4 bytes a row it sets what one foo weighs.
const ROWS: usize = 576_000;
const PATIENCE: Duration = Duration::from_secs(5);
/// No number below `ROWS` is longer, with its line end and some blanks.
const LONGEST_LINE: u64 = 32;

/// For each number its smallest prime factor (0 and 1 have themselves).
fn smallest_factors(rows: usize) -> Vec<u32> {
    let mut table: Vec<u32> = (0u32..).take(rows).collect();
    let mut prime = 2;
    while prime * prime < rows {
        if table[prime] as usize == prime {
            for multiple in (prime * prime..rows).step_by(prime) {
                if table[multiple] as usize == multiple {
                    table[multiple] = prime as u32;
                }
            }
        }
        prime += 1;
    }
    table
}

/// The line that answers `question`, without its line end.
fn answer(table: &[u32], question: &str) -> String {
    let Ok(number) = question.trim().parse::<usize>() else {
        return format!("error: not a number: {:?}", question.trim());
    };
    if number < 2 || number >= table.len() {
        return format!("error: {number} is not between 2 and {}", table.len() - 1);
    }
    let (mut rest, mut factors) = (number, Vec::new());
    while rest > 1 {
        factors.push(table[rest].to_string());
        rest /= table[rest] as usize;
    }
    format!("{number} = {}", factors.join(" * "))
}

fn serve(table: &[u32], stream: UnixStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut question = String::new();
    BufReader::new((&stream).take(LONGEST_LINE)).read_line(&mut question)?;
    writeln!(&stream, "{} (foo {})", answer(table, &question), std::process::id())
}

fn listen(table: &[u32]) -> io::Result<()> {
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Fails unless descriptor 0 is a socket.
    listener.local_addr()?;
    println!("foo {}: {} numbers at hand, answering", std::process::id(), table.len());
    loop {
        // The description is shared with whoever passed it, who may have made it non-blocking.
        listener.set_nonblocking(false)?;
        match listener.accept() {
            Ok((stream, _)) => {
                if let Err(error) = serve(table, stream) {
                    eprintln!("foo {}: connection: {error}", std::process::id());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
            Err(error) => {
                eprintln!("foo {}: accept: {error}", std::process::id());
                thread::sleep(Duration::from_millis(200));
            }
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let table = smallest_factors(ROWS);
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            println!("foo {}: {} numbers at hand, nobody to answer", std::process::id(), table.len());
            loop {
                thread::park();
            }
        }
        ["--listener-on-stdin"] => {
            let Err(error) = listen(&table) else { return ExitCode::SUCCESS };
            eprintln!("foo: descriptor 0: {error}");
            ExitCode::FAILURE
        }
        _ => {
            eprintln!("Usage: foo [--listener-on-stdin]");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors() {
        let table = smallest_factors(1000);
        assert_eq!(answer(&table, "12\n"), "12 = 2 * 2 * 3");
        assert_eq!(answer(&table, " 997 "), "997 = 997");
        assert_eq!(answer(&table, "961"), "961 = 31 * 31");
        for bad in ["", "0", "1", "1000", "-4", "twelve", "99999999999999999999999"] {
            assert!(answer(&table, bad).starts_with("error: "), "{bad}");
        }
    }

    #[test]
    fn every_row_divides_its_number() {
        let table = smallest_factors(5000);
        for (number, factor) in table.iter().map(|factor| *factor as usize).enumerate().skip(2) {
            assert_eq!(number % factor, 0);
            assert!((2..factor).all(|smaller| number % smaller != 0));
        }
    }
}
