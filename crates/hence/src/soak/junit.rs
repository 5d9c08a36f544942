//! A run as JUnit XML: a suite for each unit, a case for each check. What was not measured long enough is
//! skipped, and says so; what is only worth saying goes to the system-out of its case.

use super::summary::{Measure, Run};
use super::verdict::{CHECKS, Finding};
use crate::report::html::escaped;

/// The XML.
pub fn of(run: &Run, findings: &[Finding], compared: bool) -> String {
    let seconds = |us: u64| format!("{}.{:03}", us / 1_000_000, us / 1000 % 1000);
    let time = seconds(run.length_us());
    let mut names: Vec<&str> = run.units.keys().map(String::as_str).collect();
    // What concerns no single unit.
    names.push("");
    let (mut suites, mut cases, mut failed, mut skipped) = (String::new(), 0, 0, 0);
    for name in names {
        let (mut body, mut count, mut bad, mut left_out) = (String::new(), 0, 0, 0);
        let shown = if name.is_empty() { "the run" } else { name };
        for check in CHECKS {
            let of = |f: &&Finding| f.unit == name && f.kind == check;
            let found: Vec<&Finding> = findings.iter().filter(of).collect();
            if found.is_empty() && name.is_empty() && check != "files" {
                continue;
            }
            count += 1;
            body.push_str(&format!(
                "    <testcase classname=\"{}\" name=\"{check}\" time=\"{time}\"",
                escaped(shown)
            ));
            let failing: Vec<&&Finding> = found.iter().filter(|f| f.fails).collect();
            let unknown = match check {
                "worse" if !compared => Some("no baseline was given"),
                _ => unmeasured(run, name, check),
            };
            if !failing.is_empty() {
                bad += 1;
                let says: Vec<String> = failing.iter().map(|f| f.says.clone()).collect();
                let text: Vec<String> = failing.iter().map(|f| told(f)).collect();
                body.push_str(&format!(
                    ">\n      <failure type=\"{check}\" message=\"{}\">{}</failure>\n    </testcase>\n",
                    escaped(&format!("{shown} {}", says.join("; "))),
                    lines(&text.join("\n"))
                ));
            } else if let Some(reason) = unknown {
                left_out += 1;
                body.push_str(&format!(
                    ">\n      <skipped message=\"{}\"/>\n    </testcase>\n",
                    escaped(reason)
                ));
            } else if let Some(note) = found.first() {
                let text = lines(&told(note));
                body.push_str(&format!(">\n      <system-out>{text}</system-out>\n    </testcase>\n"));
            } else {
                body.push_str("/>\n");
            }
        }
        if count == 0 {
            continue;
        }
        suites.push_str(&format!(
            "  <testsuite name=\"{}\" tests=\"{count}\" failures=\"{bad}\" errors=\"0\" \
             skipped=\"{left_out}\" time=\"{time}\">\n{body}  </testsuite>\n",
            escaped(shown)
        ));
        cases += count;
        failed += bad;
        skipped += left_out;
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"hence soak\" tests=\"{cases}\" \
         failures=\"{failed}\" errors=\"0\" skipped=\"{skipped}\" time=\"{time}\">\n{suites}</testsuites>\n"
    )
}

/// Escaped text of several lines.
fn lines(text: &str) -> String {
    text.lines().map(escaped).collect::<Vec<_>>().join("\n")
}

fn told(finding: &Finding) -> String {
    let mut text = finding.says.clone();
    for line in &finding.evidence {
        text.push_str(&format!("\n  {line}"));
    }
    if !finding.mend.is_empty() {
        text.push_str(&format!("\nTo do: {}", finding.mend));
    }
    text
}

fn unmeasured(run: &Run, unit: &str, check: &str) -> Option<&'static str> {
    let summary = run.units.get(unit)?;
    let short = "no run of the unit was long enough to tell growth from noise";
    if let Some(measure) = Measure::parse(check) {
        return summary.rows.get(&measure).is_none_or(|r| r.trend.is_none()).then_some(short);
    }
    match check {
        "stop-time" if summary.stops.count == 0 => Some("it was not stopped"),
        "recovery" if !run.windows.iter().any(|w| w.unit.as_deref() == Some(unit)) => {
            Some("no fault was done to it")
        }
        _ => None,
    }
}
