//! Findings of `hence lint` for programs: JSON, SARIF 2.1.0, annotations of GitHub's workflows.

use super::{Found, Told, word};
use hence_ledger::json::Json;
use hence_unit::Level;
use hence_unit::lint::explain::page_address;
use hence_unit::lint::{Change, Rule};

fn text(value: impl Into<String>) -> Json {
    Json::Text(value.into())
}

fn number(value: u32) -> Json {
    if value == 0 { Json::Null } else { Json::Number(value.into()) }
}

/// A list of `rule`, `level`, `unit`, `file`, `line`, `column`, `message`, `fix` and `fixable`.
pub fn json(told: &Told) -> Json {
    let one = |found: &Found| {
        let finding = &found.finding;
        Json::Object(vec![
            ("rule", text(finding.rule.id)),
            ("level", text(word(finding.level))),
            ("unit", finding.unit.as_ref().map_or(Json::Null, |unit| text(unit.as_str()))),
            ("file", text(&*found.path)),
            ("line", number(finding.place.line)),
            ("column", number(finding.place.column)),
            ("message", text(&*finding.message)),
            ("fix", finding.fix.as_ref().map_or(Json::Null, |fix| text(&**fix))),
            ("fixable", Json::Bool(!finding.edits.is_empty())),
        ])
    };
    Json::List(told.findings.iter().map(one).collect())
}

/// A list of `rule`, `level`, `says`, `why` and `page`.
pub fn rules(rules: impl Iterator<Item = &'static Rule>) -> Json {
    let one = |rule: &Rule| {
        Json::Object(vec![
            ("rule", text(rule.id)),
            ("level", text(word(rule.level))),
            ("says", text(rule.says)),
            ("why", text(rule.why)),
            ("page", text(rule.page)),
        ])
    };
    Json::List(rules.map(one).collect())
}

/// A path as an URI: relative ones stay so.
fn uri(path: &str) -> String {
    let mut out = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b'@' | b':' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A log of SARIF 2.1.0 with one run.
pub fn sarif(told: &Told, rules: impl Iterator<Item = &'static Rule>) -> Json {
    let rules: Vec<&Rule> = rules.collect();
    let message = |value: &str| Json::Object(vec![("text", text(value))]);
    let of_rule = |rule: &&Rule| {
        let mut fields = vec![
            ("id", text(rule.id)),
            ("shortDescription", message(rule.says)),
            ("fullDescription", message(rule.why)),
            ("help", message(&format!("{} See {}.", rule.why, rule.page))),
            ("defaultConfiguration", Json::Object(vec![("level", text(word(rule.level)))])),
        ];
        fields.extend(page_address(rule.page).map(|address| ("helpUri", text(address))));
        Json::Object(fields)
    };
    let of_finding = |found: &Found| {
        let finding = &found.finding;
        let artifact = || Json::Object(vec![("uri", text(uri(&found.path)))]);
        let mut physical = vec![("artifactLocation", artifact())];
        if finding.place.line > 0 {
            let mut region = vec![("startLine", number(finding.place.line))];
            if finding.place.column > 0 {
                region.push(("startColumn", number(finding.place.column)));
            }
            physical.push(("region", Json::Object(region)));
        }
        let location = Json::Object(vec![("physicalLocation", Json::Object(physical))]);
        let index = rules.iter().position(|rule| rule.id == finding.rule.id).unwrap_or(0);
        let said = match &finding.fix {
            Some(fix) => format!("{}. {fix}", finding.message),
            None => finding.message.clone(),
        };
        let mut fields = vec![
            ("ruleId", text(finding.rule.id)),
            ("ruleIndex", Json::Number(index as u64)),
            ("level", text(word(finding.level))),
            ("message", message(&said)),
            ("locations", Json::List(vec![location])),
        ];
        let replacements: Vec<Json> = finding.edits.iter().filter_map(|e| replacement(&e.change)).collect();
        if !replacements.is_empty() {
            let change = Json::Object(vec![
                ("artifactLocation", artifact()),
                ("replacements", Json::List(replacements)),
            ]);
            let fix = Json::Object(vec![
                ("description", message(finding.fix.as_deref().unwrap_or("mend it"))),
                ("artifactChanges", Json::List(vec![change])),
            ]);
            fields.push(("fixes", Json::List(vec![fix])));
        }
        Json::Object(fields)
    };
    let driver = Json::Object(vec![
        ("name", text("hence lint")),
        ("version", text(env!("CARGO_PKG_VERSION"))),
        ("rules", Json::List(rules.iter().map(of_rule).collect())),
    ]);
    let run = Json::Object(vec![
        ("tool", Json::Object(vec![("driver", driver)])),
        ("columnKind", text("unicodeCodePoints")),
        ("results", Json::List(told.findings.iter().map(of_finding).collect())),
    ]);
    Json::Object(vec![
        ("$schema", text("https://json.schemastore.org/sarif-2.1.0.json")),
        ("version", text("2.1.0")),
        ("runs", Json::List(vec![run])),
    ])
}

/// Whole lines that are replaced.
fn replacement(change: &Change) -> Option<Json> {
    let region = |first: u32, last: u32| {
        Json::Object(vec![
            ("startLine", number(first)),
            ("startColumn", number(1)),
            ("endLine", number(last + 1)),
            ("endColumn", number(1)),
        ])
    };
    match change {
        Change::Replace { first, last, text: new } => Some(Json::Object(vec![
            ("deletedRegion", region(*first, *last)),
            ("insertedContent", Json::Object(vec![("text", text(format!("{new}\n")))])),
        ])),
        Change::Remove { first, last } => Some(Json::Object(vec![("deletedRegion", region(*first, *last))])),
        Change::UnixLines | Change::Mode(_) => None,
    }
}

/// One workflow command for each finding.
pub fn github(told: &Told) -> String {
    let data = |value: &str| value.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |value: &str| data(value).replace(':', "%3A").replace(',', "%2C");
    let mut out = String::new();
    for found in &told.findings {
        let finding = &found.finding;
        let level = if finding.level == Level::Note { "notice" } else { word(finding.level) };
        out += &format!("::{level} file={}", property(&found.path));
        for (name, value) in [("line", finding.place.line), ("col", finding.place.column)] {
            if value > 0 {
                out += &format!(",{name}={value}");
            }
        }
        let fix = finding.fix.as_ref().map_or(String::new(), |fix| format!(". {fix}"));
        out += &format!(
            ",title={}::{}\n",
            property(finding.rule.id),
            data(&format!("{}{fix}", finding.message))
        );
    }
    out
}
