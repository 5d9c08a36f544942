//! A small telemetry collector: it receives OTLP requests over HTTP, counts them by pipeline, tells the
//! totals on stdout, and serves its own metrics for Prometheus.
//!
//! It stands in for aws-otel-collector in the incident: same command line, same configuration keys, same
//! words when a release no longer knows one of them. It counts and does not decode what it receives, and
//! sends nothing on. SIGTERM ends it, as it does every program that does not catch it.

mod config;
mod http;
mod yaml;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use config::{Config, Pipeline, Signal};
use http::Body;

/// What differs between the releases of this program.
pub struct Release {
    pub version: &'static str,
    /// The keys that `service.telemetry.metrics` may have.
    pub metrics_keys: &'static [&'static str],
}

/// A configuration is a page or two; this bounds what is read of a wrong file.
const LARGEST_FILE: u64 = 1 << 20;
/// Requests that may wait for a pipeline; more are refused.
const QUEUE: usize = 256;
const USAGE: &str = "Usage: aws-otel-collector --config FILE
       aws-otel-collector validate --config FILE
       aws-otel-collector --version";

/// The whole program.
pub fn run(release: &Release) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["--version" | "-v"] => {
            println!("aws-otel-collector version: {}", release.version);
            Ok(())
        }
        ["validate", "--config", file] => load(file, release).map(drop),
        ["--config", file] => load(file, release).and_then(|config| start(config, release)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn load(path: &str, release: &Release) -> Result<Config, String> {
    let read = || -> io::Result<String> {
        let mut text = String::new();
        let file = std::fs::File::open(path)?;
        io::Read::read_to_string(&mut io::Read::take(file, LARGEST_FILE + 1), &mut text)?;
        if text.len() as u64 > LARGEST_FILE {
            return Err(io::Error::other(format!("larger than {LARGEST_FILE} bytes")));
        }
        Ok(text)
    };
    let whole = read()
        .map_err(|error| format!("cannot read {path}: {error}"))
        .and_then(|text| yaml::parse(&text).map_err(|error| format!("{path}: {error}")))
        .and_then(|document| config::decode(&document, release));
    whole.map_err(|error| format!("failed to get config: {error}"))
}

/// Totals since the start, for the metrics page.
#[derive(Default)]
struct Totals {
    requests: AtomicU64,
    refused: AtomicU64,
    lines: AtomicU64,
    bytes: AtomicU64,
}

/// One pipeline as the receivers see it.
struct Entrance {
    signal: Signal,
    receivers: Vec<String>,
    queue: SyncSender<Body>,
}

fn start(config: Config, release: &Release) -> Result<(), String> {
    let bind = |address| {
        TcpListener::bind(address).map_err(|error| format!("cannot start: listen tcp {address}: {error}"))
    };
    let totals = Arc::new(Totals::default());
    // Every port first: a collector that is half up is worse than one that fails.
    let page = config.metrics_address.map(bind).transpose()?;
    let listeners: Vec<TcpListener> =
        config.receivers.iter().map(|r| bind(r.endpoint)).collect::<Result<_, _>>()?;

    let mut entrances = Vec::new();
    for pipeline in config.pipelines {
        let (queue, requests) = sync_channel(QUEUE);
        entrances.push(Entrance { signal: pipeline.signal, receivers: pipeline.receivers.clone(), queue });
        thread::spawn(move || export(&pipeline, &requests));
    }
    let entrances = Arc::new(entrances);

    let mut threads = Vec::new();
    println!("Starting aws-otel-collector... Version: {}", release.version);
    if let Some(listener) = page {
        println!("Serving metrics at {}", listener.local_addr().map_err(|error| error.to_string())?);
        let (totals, version, since) = (Arc::clone(&totals), release.version, Instant::now());
        threads.push(thread::spawn(move || {
            accept(&listener, |stream| serve_page(stream, &totals, version, since))
        }));
    }
    for (receiver, listener) in config.receivers.into_iter().zip(listeners) {
        println!(
            "Receiver {} listens at {}",
            receiver.id,
            listener.local_addr().map_err(|error| error.to_string())?
        );
        let (totals, entrances) = (Arc::clone(&totals), Arc::clone(&entrances));
        threads.push(thread::spawn(move || {
            accept(&listener, |stream| receive(stream, &receiver.id, &entrances, &totals))
        }));
    }
    println!("Everything is ready. Begin running and processing data.");
    for thread in threads {
        thread.join().map_err(|_| "a listener ended".to_owned())?;
    }
    Ok(())
}

/// Connections one after the other, for ever: requests are small, and time for each is bounded.
fn accept(listener: &TcpListener, mut serve: impl FnMut(&TcpStream) -> io::Result<()>) {
    loop {
        let served = listener.accept().and_then(|(stream, _)| serve(&stream));
        if let Err(error) = served {
            eprintln!("connection: {error}");
            // Out of descriptors, say: do not spin.
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn receive(stream: &TcpStream, receiver: &str, entrances: &[Entrance], totals: &Totals) -> io::Result<()> {
    let verdict = http::read(stream)?.and_then(|request| {
        let signal = request.path.strip_prefix("/v1/").and_then(Signal::parse).ok_or((404, "Not Found"))?;
        if request.method != "POST" {
            return Err((405, "Method Not Allowed"));
        }
        let mut open = entrances
            .iter()
            .filter(|e| e.signal == signal && e.receivers.iter().any(|r| r == receiver))
            .peekable();
        open.peek().ok_or((404, "Not Found"))?;
        for entrance in open {
            entrance.queue.try_send(request.body).map_err(|_| (503, "Service Unavailable"))?;
        }
        Ok(request.body)
    });
    match verdict {
        Ok(body) => {
            totals.requests.fetch_add(1, Relaxed);
            totals.lines.fetch_add(body.lines, Relaxed);
            totals.bytes.fetch_add(body.bytes, Relaxed);
            http::answer(stream, (200, "OK"), "application/json", "{\"partialSuccess\":{}}")
        }
        Err(refusal) => {
            totals.refused.fetch_add(1, Relaxed);
            http::answer(stream, refusal, "text/plain", &format!("{}\n", refusal.1))
        }
    }
}

fn serve_page(stream: &TcpStream, totals: &Totals, version: &str, since: Instant) -> io::Result<()> {
    match http::read(stream)? {
        Ok(request) if request.method == "GET" && request.path == "/metrics" => {
            let page = page(totals, version, since.elapsed());
            http::answer(stream, (200, "OK"), "text/plain; version=0.0.4", &page)
        }
        Ok(_) => http::answer(stream, (404, "Not Found"), "text/plain", "Not Found\n"),
        Err(refusal) => http::answer(stream, refusal, "text/plain", &format!("{}\n", refusal.1)),
    }
}

/// The Prometheus text format.
fn page(totals: &Totals, version: &str, uptime: Duration) -> String {
    let mut page = format!(
        "# HELP target_info This program.\n# TYPE target_info gauge\n\
         target_info{{service_name=\"aws-otel-collector\",service_version=\"{version}\"}} 1\n\
         # HELP otelcol_process_uptime_seconds Time since the start.\n\
         # TYPE otelcol_process_uptime_seconds gauge\n\
         otelcol_process_uptime_seconds {:.3}\n",
        uptime.as_secs_f64()
    );
    for (name, what, total) in [
        ("otelcol_receiver_accepted_requests_total", "Requests accepted.", &totals.requests),
        ("otelcol_receiver_refused_requests_total", "Requests refused.", &totals.refused),
        ("otelcol_receiver_accepted_lines_total", "Lines in accepted requests.", &totals.lines),
        ("otelcol_receiver_accepted_bytes_total", "Bytes in accepted requests.", &totals.bytes),
    ] {
        let total = total.load(Relaxed);
        // Writing to a String cannot fail.
        let _ = write!(page, "# HELP {name} {what}\n# TYPE {name} counter\n{name} {total}\n");
    }
    page
}

/// Sums up what arrives within a batch and tells it in one line. Sleeps while nothing arrives.
fn export(pipeline: &Pipeline, requests: &Receiver<Body>) {
    while let Ok(first) = requests.recv() {
        let (mut count, mut sum) = (1u64, first);
        let until = Instant::now() + pipeline.timeout.unwrap_or_default();
        while let Ok(body) = requests.recv_timeout(until.saturating_duration_since(Instant::now())) {
            count += 1;
            sum.bytes += body.bytes;
            sum.lines += body.lines;
        }
        let bytes = if pipeline.detailed { format!(", {} bytes", sum.bytes) } else { String::new() };
        // Who reads stdout may be gone; that is no reason to stop counting.
        let _ = writeln!(io::stdout(), "{}: {count} requests, {} lines{bytes}", pipeline.id, sum.lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn ask(address: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).expect("connect");
        stream.write_all(request.as_bytes()).expect("send");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answer");
        answer
    }

    #[test]
    fn receives_counts_and_tells() {
        let totals = Arc::new(Totals::default());
        let (queue, requests) = sync_channel(1);
        let entrances = vec![Entrance { signal: Signal::Logs, receivers: vec!["otlp".to_owned()], queue }];
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let seen = Arc::clone(&totals);
        thread::spawn(move || accept(&listener, |stream| receive(stream, "otlp", &entrances, &seen)));

        let post =
            |path: &str| ask(address, &format!("POST {path} HTTP/1.1\r\nContent-Length: 4\r\n\r\na\nb\n"));
        assert!(post("/v1/logs").starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(post("/v1/logs").starts_with("HTTP/1.1 503 "), "the queue holds one");
        assert_eq!(requests.recv(), Ok(Body { bytes: 4, lines: 2 }));
        assert!(post("/v1/logs").starts_with("HTTP/1.1 200 "), "there is room again");
        assert!(post("/v1/traces").starts_with("HTTP/1.1 404 "), "no such pipeline");
        assert!(ask(address, "GET /v1/logs HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));

        let text = page(&totals, "v0", Duration::from_millis(1500));
        for line in [
            "target_info{service_name=\"aws-otel-collector\",service_version=\"v0\"} 1",
            "otelcol_process_uptime_seconds 1.500",
            "otelcol_receiver_accepted_requests_total 2",
            "otelcol_receiver_refused_requests_total 3",
            "otelcol_receiver_accepted_lines_total 4",
            "otelcol_receiver_accepted_bytes_total 8",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
