//! From YAML to a configuration, strictly: an unknown key anywhere is an error.
//!
//! What keys `service.telemetry.metrics` may have depends on the release; everything else is common to both.
//! Components: receiver `otlp` (over HTTP), processor `batch`, exporter `debug`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::Release;
use super::yaml::{Node, Value};

/// What a batch waits for more when its configuration does not say.
const USUAL_TIMEOUT: Duration = Duration::from_millis(200);

#[derive(Debug, PartialEq)]
pub struct Config {
    /// Where the collector serves its own metrics; `None`: nowhere.
    pub metrics_address: Option<SocketAddr>,
    pub receivers: Vec<Receiver>,
    pub pipelines: Vec<Pipeline>,
}

#[derive(Debug, PartialEq)]
pub struct Receiver {
    pub id: String,
    pub endpoint: SocketAddr,
}

#[derive(Debug, PartialEq)]
pub struct Pipeline {
    pub id: String,
    pub signal: Signal,
    pub receivers: Vec<String>,
    /// The longest of its batch processors; `None` without one: each request is told at once.
    pub timeout: Option<Duration>,
    /// Some exporter wants sizes too, not only counts.
    pub detailed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Signal {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "traces" => Some(Self::Traces),
            "metrics" => Some(Self::Metrics),
            "logs" => Some(Self::Logs),
            _ => None,
        }
    }
}

type Entries = [(String, Value)];
/// Lines of error text, as the collector prints them.
type Errors = Vec<String>;

/// The error text is what follows `cannot unmarshal the configuration: ` or `invalid configuration: `.
pub fn decode(document: &Value, release: &Release) -> Result<Config, String> {
    let mut errors = Errors::new();
    let drafts = Drafts::decode(document, release, &mut errors);
    if !errors.is_empty() {
        return Err(format!(
            "cannot unmarshal the configuration: decoding failed due to the following error(s):\n{}",
            errors.join("\n")
        ));
    }
    drafts.link().map_err(|error| format!("invalid configuration: {error}"))
}

/// Components and pipelines before anyone checked that they fit together.
#[derive(Default)]
struct Drafts {
    metrics_address: Option<SocketAddr>,
    receivers: Vec<Receiver>,
    processors: Vec<(String, Duration)>,
    exporters: Vec<(String, bool)>,
    pipelines: Vec<Draft>,
}

struct Draft {
    id: String,
    signal: Signal,
    receivers: Vec<String>,
    processors: Vec<String>,
    exporters: Vec<String>,
}

impl Drafts {
    fn decode(document: &Value, release: &Release, errors: &mut Errors) -> Self {
        let mut drafts = Self::default();
        let known = &["receivers", "processors", "exporters", "service"];
        let root = table(document, "", known, errors);
        for (id, value) in components(root, "receivers", "otlp", errors) {
            let path = format!("receivers::{id}");
            let protocols = child(table(value, &path, &["protocols"], errors), "protocols");
            let path = format!("{path}.protocols");
            let http = protocols.and_then(|p| child(table(p, &path, &["http"], errors), "http"));
            let Some(http) = http else {
                errors.push(format!("'{path}' must specify at least one protocol: http"));
                continue;
            };
            let path = format!("{path}.http");
            let endpoint = child(table(http, &path, &["endpoint"], errors), "endpoint");
            let endpoint = endpoint.map_or(Ok("localhost:4318"), |value| text(value));
            match endpoint.and_then(address) {
                Ok(endpoint) => drafts.receivers.push(Receiver { id: id.clone(), endpoint }),
                Err(error) => errors.push(format!("'{path}.endpoint' {error}")),
            }
        }
        for (id, value) in components(root, "processors", "batch", errors) {
            let path = format!("processors::{id}");
            let timeout = child(table(value, &path, &["timeout"], errors), "timeout");
            match timeout.map_or(Ok(USUAL_TIMEOUT), |value| text(value).and_then(duration)) {
                Ok(timeout) => drafts.processors.push((id.clone(), timeout)),
                Err(error) => errors.push(format!("'{path}.timeout' {error}")),
            }
        }
        for (id, value) in components(root, "exporters", "debug", errors) {
            let path = format!("exporters::{id}");
            let verbosity = child(table(value, &path, &["verbosity"], errors), "verbosity");
            match verbosity.map_or(Ok("basic"), |value| text(value)) {
                Ok("basic") => drafts.exporters.push((id.clone(), false)),
                Ok("normal" | "detailed") => drafts.exporters.push((id.clone(), true)),
                Ok(other) => errors.push(format!("'{path}.verbosity' unrecognized level: {other:?}")),
                Err(error) => errors.push(format!("'{path}.verbosity' {error}")),
            }
        }
        if let Some(service) = child(root, "service") {
            drafts.service(service, release, errors);
        }
        drafts
    }

    fn service(&mut self, service: &Value, release: &Release, errors: &mut Errors) {
        let service = table(service, "service", &["telemetry", "pipelines"], errors);
        if let Some(telemetry) = child(service, "telemetry") {
            let telemetry = table(telemetry, "service.telemetry", &["metrics"], errors);
            if let Some(metrics) = child(telemetry, "metrics") {
                let path = "service.telemetry.metrics";
                match own_metrics(table(metrics, path, release.metrics_keys, errors)) {
                    Ok(address) => self.metrics_address = address,
                    Err(error) => errors.push(format!("'{path}{error}")),
                }
            }
        }
        let Some(pipelines) = child(service, "pipelines") else { return };
        for (id, value) in table_of_any(pipelines, "service.pipelines", errors) {
            let path = format!("service.pipelines.{id}");
            let Some(signal) = Signal::parse(type_of(id)) else {
                errors
                    .push(format!("'{path}' unknown signal {:?}: use traces, metrics or logs", type_of(id)));
                continue;
            };
            let pipeline = table(value, &path, &["receivers", "processors", "exporters"], errors);
            let mut list = |key: &str| match child(pipeline, key).map_or(Ok(Vec::new()), texts) {
                Ok(list) => list,
                Err(error) => {
                    errors.push(format!("'{path}.{key}' {error}"));
                    Vec::new()
                }
            };
            let (receivers, processors, exporters) =
                (list("receivers"), list("processors"), list("exporters"));
            self.pipelines.push(Draft { id: id.clone(), signal, receivers, processors, exporters });
        }
    }

    /// Follows each pipeline's names.
    fn link(self) -> Result<Config, String> {
        if self.pipelines.is_empty() {
            return Err("service must have at least one pipeline".to_owned());
        }
        let mut pipelines = Vec::new();
        for draft in self.pipelines {
            let at = format!("service::pipelines::{}", draft.id);
            let missing = |kind, id| format!("{at}: references {kind} {id:?} which is not configured");
            if draft.receivers.is_empty() || draft.exporters.is_empty() {
                return Err(format!("{at}: must have at least one receiver and one exporter"));
            }
            for id in &draft.receivers {
                if !self.receivers.iter().any(|receiver| receiver.id == *id) {
                    return Err(missing("receiver", id));
                }
            }
            let mut timeout = None;
            for id in &draft.processors {
                let found = self.processors.iter().find(|(known, _)| known == id);
                timeout = timeout.max(Some(found.ok_or_else(|| missing("processor", id))?.1));
            }
            let mut detailed = false;
            for id in &draft.exporters {
                let found = self.exporters.iter().find(|(known, _)| known == id);
                detailed |= found.ok_or_else(|| missing("exporter", id))?.1;
            }
            let Draft { id, signal, receivers, .. } = draft;
            pipelines.push(Pipeline { id, signal, receivers, timeout, detailed });
        }
        // A receiver that no pipeline uses is not started.
        let mut receivers = self.receivers;
        receivers.retain(|receiver| pipelines.iter().any(|p| p.receivers.contains(&receiver.id)));
        Ok(Config { metrics_address: self.metrics_address, receivers, pipelines })
    }
}

/// `address`, or the one Prometheus reader of `readers`. The error goes on after the path of the table.
fn own_metrics(metrics: &Entries) -> Result<Option<SocketAddr>, String> {
    if let Some(level) = child(metrics, "level") {
        match text(level).map_err(|error| format!(".level' {error}"))? {
            "none" => return Ok(None),
            "basic" | "normal" | "detailed" => {}
            other => return Err(format!(".level' unknown metrics level {other:?}")),
        }
    }
    if let Some(value) = child(metrics, "address") {
        let found = text(value).and_then(address);
        return found.map(Some).map_err(|error| format!(".address' {error}"));
    }
    let Some(readers) = child(metrics, "readers") else { return Ok(None) };
    let Node::List(readers) = &readers.node else {
        return Err(format!(".readers' expected a list (line {})", readers.line));
    };
    match &readers[..] {
        [] => Ok(None),
        [reader] => prometheus(reader).map(Some),
        [_, second, ..] => Err(format!(".readers' more than one reader (line {})", second.line)),
    }
}

/// `pull: exporter: prometheus: host, port` of a reader.
fn prometheus(reader: &Value) -> Result<SocketAddr, String> {
    let (mut path, mut level) = (".readers[0]".to_owned(), reader);
    // Every error of a table begins with `'` and the path; the caller writes that for us.
    let whole =
        |errors: Errors| if errors.is_empty() { Ok(()) } else { Err(errors.join("\n")[1..].to_owned()) };
    for key in ["pull", "exporter", "prometheus"] {
        let mut errors = Errors::new();
        let entries = table(level, &path, &[key], &mut errors);
        whole(errors)?;
        path = format!("{path}.{key}");
        level = child(entries, key).ok_or_else(|| format!("{path}' is missing (line {})", level.line))?;
    }
    let mut errors = Errors::new();
    let entries = table(level, &path, &["host", "port"], &mut errors);
    whole(errors)?;
    let host = child(entries, "host").map_or(Ok("localhost"), text);
    let port = child(entries, "port").map_or(Err("needs a port".to_owned()), text);
    let found = host.and_then(|host| address(&format!("{host}:{}", port?)));
    found.map_err(|error| format!("{path}' {error}"))
}

fn child<'a>(entries: &'a Entries, key: &str) -> Option<&'a Value> {
    entries.iter().find(|(known, _)| known == key).map(|(_, value)| value)
}

/// The entries of a table that may be absent (`key:` with nothing after it), whatever their keys.
fn table_of_any<'a>(value: &'a Value, path: &str, errors: &mut Errors) -> &'a Entries {
    match &value.node {
        Node::Map(entries) => entries,
        Node::Empty => &[],
        Node::Scalar(_) | Node::List(_) => {
            errors.push(format!("'{path}' expected a map (line {})", value.line));
            &[]
        }
    }
}

/// The same where only some keys are known.
fn table<'a>(value: &'a Value, path: &str, known: &[&str], errors: &mut Errors) -> &'a Entries {
    let entries = table_of_any(value, path, errors);
    let mut unknown: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
    unknown.retain(|key| !known.contains(key));
    unknown.sort_unstable();
    if !unknown.is_empty() {
        if !path.is_empty() {
            errors.push(format!("'{path}' decoding failed due to the following error(s):"));
        }
        errors.push(format!("'' has invalid keys: {}", unknown.join(", ")));
    }
    entries
}

/// The components of a kind, each named `type` or `type/name`. There is one type of each kind.
fn components<'a>(root: &'a Entries, kind: &str, known: &str, errors: &mut Errors) -> &'a Entries {
    let entries = child(root, kind).map_or(&[][..], |value| table_of_any(value, kind, errors));
    for (id, value) in entries {
        if type_of(id) != known {
            let line = value.line;
            errors.push(format!("'{kind}' unknown type: {id:?} (line {line}; valid values: [{known}])"));
        }
    }
    entries
}

fn type_of(id: &str) -> &str {
    id.split_once('/').map_or(id, |(kind, _)| kind)
}

fn text(value: &Value) -> Result<&str, String> {
    match &value.node {
        Node::Scalar(text) => Ok(text),
        Node::Empty => Err(format!("needs a value (line {})", value.line)),
        Node::List(_) | Node::Map(_) => Err(format!("expected a single value (line {})", value.line)),
    }
}

fn texts(value: &Value) -> Result<Vec<String>, String> {
    match &value.node {
        Node::List(items) => items.iter().map(|item| text(item).map(str::to_owned)).collect(),
        Node::Empty => Ok(Vec::new()),
        Node::Scalar(_) | Node::Map(_) => Err(format!("expected a list (line {})", value.line)),
    }
}

/// `HOST:PORT`. An empty host means every interface to the real collector; this one takes the loopback
/// then: an example must not open a port to the network.
fn address(text: &str) -> Result<SocketAddr, String> {
    let bad = |why| format!("bad address {text:?}: {why}");
    let (host, port) = text.rsplit_once(':').ok_or_else(|| bad("expected HOST:PORT"))?;
    let port = port.parse().map_err(|_| bad("the port is not a number from 0 to 65535"))?;
    let host = match host {
        "" | "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => host.trim_matches(['[', ']']).parse().map_err(|_| bad("the host is not an IP address"))?,
    };
    Ok(SocketAddr::new(host, port))
}

/// `200ms`, `1s`, `2m`: one number and one unit.
fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("bad duration {text:?}: expected a number with ms, s or m");
    let end = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let number: u32 = text[..end].parse().map_err(|_| bad())?;
    match &text[end..] {
        "ms" => Ok(Duration::from_millis(number.into())),
        "s" => Ok(Duration::from_secs(number.into())),
        "m" => Ok(Duration::from_secs(u64::from(number) * 60)),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::yaml;
    use super::*;

    const OLD: Release = Release { version: "old", metrics_keys: &["address", "level", "readers"] };
    const NEW: Release = Release { version: "new", metrics_keys: &["level", "readers"] };
    const SHIPPED: &str = include_str!("../../otel.yaml");

    fn read(text: &str, release: &Release) -> Result<Config, String> {
        decode(&yaml::parse(text).expect("YAML"), release)
    }

    fn on_loopback(port: u16) -> Option<SocketAddr> {
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[test]
    fn the_old_release_takes_the_shipped_file() {
        let config = read(SHIPPED, &OLD).expect("valid");
        assert_eq!(config.metrics_address, on_loopback(51681));
        assert_eq!(config.receivers.len(), 1);
        assert_eq!(Some(config.receivers[0].endpoint), on_loopback(4318));
        assert_eq!(
            config.pipelines.iter().map(|p| p.signal).collect::<Vec<_>>(),
            [Signal::Metrics, Signal::Logs]
        );
        assert_eq!(config.pipelines[0].timeout, Some(Duration::from_secs(1)));
    }

    #[test]
    fn the_new_release_refuses_it_in_the_words_of_the_incident() {
        let error = read(SHIPPED, &NEW).expect_err("address is gone");
        assert_eq!(
            error,
            "cannot unmarshal the configuration: decoding failed due to the following error(s):\n\
             'service.telemetry.metrics' decoding failed due to the following error(s):\n\
             '' has invalid keys: address"
        );
        let without = SHIPPED.replace("      address: \":51681\"\n", "");
        assert_eq!(read(&without, &NEW).expect("removing it mends it").metrics_address, None);
    }

    #[test]
    fn readers_are_the_new_way() {
        let reader = [
            "      readers:",
            "        - pull:",
            "            exporter:",
            "              prometheus: # on this machine only",
            "                host: 127.0.0.1",
            "                port: 51682\n",
        ]
        .join("\n");

        let text = SHIPPED.replace("      address: \":51681\"\n", &reader);
        for release in [&OLD, &NEW] {
            assert_eq!(read(&text, release).expect("valid").metrics_address, on_loopback(51682));
        }
        let path = "'service.telemetry.metrics.readers[0].pull.exporter.prometheus'";
        for (from, to, part) in [
            ("port:", "prt:", "'' has invalid keys: prt"),
            ("                port: 51682\n", "", "needs a port"),
            ("host: 127.0.0.1", "host: nowhere", "not an IP address"),
        ] {
            let error = read(&text.replacen(from, to, 1), &NEW).expect_err(part);
            assert!(error.contains(path) && error.contains(part), "{error}");
        }
        let error = read(&text.replace("prometheus:", "otlp:"), &NEW).expect_err("otlp");
        assert!(error.contains("has invalid keys: otlp"), "{error}");
    }

    #[test]
    fn mistakes_are_named() {
        let shipped = |from: &str, to: &str| {
            assert!(SHIPPED.contains(from), "{from}");
            SHIPPED.replacen(from, to, 1)
        };
        for (text, part) in [
            (
                shipped("receivers:\n  otlp", "receivers:\n  kafka"),
                "'receivers' unknown type: \"kafka\" (line 3;",
            ),
            (shipped("exporters:", "exporter:"), "'' has invalid keys: exporter"),
            (shipped("127.0.0.1:4318", "127.0.0.1"), "bad address \"127.0.0.1\": expected HOST:PORT"),
            (shipped("127.0.0.1:4318", "127.0.0.1:70000"), "0 to 65535"),
            (shipped("127.0.0.1:4318", "example.org:1"), "not an IP address"),
            (shipped("timeout: 1s", "timeout: 1"), "bad duration"),
            (shipped("verbosity: basic", "verbosity: loud"), "unrecognized level"),
            (shipped("processors: [batch]", "processors: [batch/2]"), "references processor \"batch/2\""),
            (shipped("receivers: [otlp]", "receivers: []"), "at least one receiver"),
            (shipped("    logs:", "    smells:"), "unknown signal \"smells\""),
            (shipped("exporters: [debug]", "exporters: debug"), "expected a list (line 25)"),
            (shipped("\":51681\"", "[1]"), "'service.telemetry.metrics.address' expected a single value"),
            ("receivers:\n".to_owned(), "at least one pipeline"),
            ("- x\n".to_owned(), "expected a map (line 1)"),
        ] {
            let error = read(&text, &OLD).expect_err(part);
            assert!(error.contains(part), "{error}\nhas no {part}");
        }
    }
}
