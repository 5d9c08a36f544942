//! The pictures of a page, as SVG that needs neither colour nor a wide screen: how the processes that are
//! left behind add up, and what leads to what. Every figure in them is also in their text.

use super::fold::{moment, number};
use crate::report::html::{WIDTH, escaped};
use hence_engine::predict::{LoopForecast, Prediction, UnitForecast};
use hence_engine::sim::caps::{Cap, CapKind};
use hence_ledger::answer::Answer;

/// The processes that a unit leaves behind, over time, with the limit where it is near.
pub fn curve(name: &str, unit: &UnitForecast, prediction: &Prediction) -> String {
    const LEFT: u64 = 52;
    const RIGHT: u64 = 348;
    const TOP: u64 = 26;
    const BOTTOM: u64 = 172;
    let points = &unit.counts.curve;
    let last = (prediction.for_us.max(1), unit.left_behind);
    let limit = prediction.watched.iter().find(|c| near(c, name, unit.left_behind));
    let most = limit.map_or(unit.left_behind, |c| c.most.max(unit.left_behind)).max(1);
    let x = |us: u64| LEFT + us.min(last.0) * (RIGHT - LEFT) / last.0;
    let y = |count: u64| BOTTOM - count.min(most) * (BOTTOM - TOP) / most;
    let mut line = format!("{LEFT},{BOTTOM}");
    for (us, count) in points.iter().copied().chain([last]) {
        line.push_str(&format!(" {},{}", x(us), y(count)));
    }
    let title = format!(
        "{name}: {} left behind after {}",
        hence_ledger::speech::count(unit.left_behind, "process", "processes"),
        moment(prediction.for_us)
    );
    let mut svg = format!(
        "<svg class=\"curve\" viewBox=\"0 0 {WIDTH} 206\" role=\"img\" data-unit=\"{0}\" \
         data-left-behind=\"{1}\"><title>{2}</title>\n\
         <text x=\"4\" y=\"14\" class=\"head\">processes left behind by {0}</text>\n\
         <path d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\" class=\"axis\"/>\n",
        escaped(name),
        unit.left_behind,
        escaped(&title),
    );
    for count in [0, most / 2, most] {
        svg.push_str(&format!(
            "<text x=\"{}\" y=\"{}\" class=\"end\">{}</text>\n",
            LEFT - 5,
            y(count) + 4,
            number(count)
        ));
    }
    svg.push_str(&format!(
        "<text x=\"{LEFT}\" y=\"188\">0</text><text x=\"{RIGHT}\" y=\"188\" class=\"end\">{}</text>\n",
        escaped(&moment(prediction.for_us))
    ));
    if let Some(cap) = limit {
        let word = super::fold::limit_word(cap);
        svg.push_str(&format!(
            "<path d=\"M{LEFT} {0}H{RIGHT}\" class=\"limit\" data-limit=\"{1}\"/>\n\
             <text x=\"{2}\" y=\"{3}\">{4}= {1}</text>\n",
            y(cap.most),
            cap.most,
            LEFT + 6,
            y(cap.most) + 14,
            word,
        ));
        if let Some(at) = cap.reached_us {
            svg.push_str(&format!(
                "<path d=\"M{0} {TOP}V{BOTTOM}\" class=\"limit\"/>\
                 <text x=\"{0}\" y=\"201\" class=\"middle\">reached after {1}</text>\n",
                x(at),
                escaped(&moment(at))
            ));
        }
    }
    svg.push_str(&format!("<polyline points=\"{line}\" class=\"line\"/>\n"));
    svg.push_str(&format!("<circle cx=\"{}\" cy=\"{}\" r=\"4\"/>\n</svg>\n", x(last.0), y(last.1)));
    svg
}

/// A limit that belongs into the picture of a unit.
fn near(cap: &Cap, name: &str, left: u64) -> bool {
    cap.kind == CapKind::Tasks && cap.unit.as_deref() == Some(name) && cap.most <= left.saturating_mul(4)
}

/// A box of a chain.
struct Step {
    unit: String,
    lines: Vec<String>,
    /// The directives on the way from here to the next box.
    rules: Vec<String>,
}

/// Why a loop goes around: the cause first, an arrow with its directive to each effect.
pub fn round(found: &LoopForecast) -> String {
    let Some(answer) = &found.why else { return String::new() };
    let mut steps = steps(answer);
    if let (Some(rule), true) = (&answer.left_behind.rule, answer.left_behind.processes > 0) {
        let name = answer.unit.to_string();
        if let Some(last) = steps.last_mut() {
            last.rules.push(super::super::answer::rule(rule));
        }
        let lines = vec!["leaves a process behind each time".to_owned()];
        steps.push(Step { unit: name, lines, rules: Vec::new() });
    }
    let every = found.period_us.map_or(String::new(), |us| format!(", every {}", moment(us)));
    let label = format!("{} times{every}", number(found.times));
    let mut body = String::new();
    let mut y = 30;
    for (nth, step) in steps.iter().enumerate() {
        let names = broken(&step.unit, 44);
        let lines: Vec<String> = step.lines.iter().flat_map(|l| broken(l, 46)).collect();
        let height = 14 + 15 * (names.len() + lines.len()) as u64;
        body.push_str(&format!(
            "<rect x=\"14\" y=\"{y}\" width=\"332\" height=\"{height}\" rx=\"5\" data-unit=\"{}\"/>\n",
            escaped(&step.unit)
        ));
        let mut at = y + 18;
        for (text, class) in names.iter().map(|n| (n, "head")).chain(lines.iter().map(|l| (l, "plain"))) {
            body.push_str(&format!("<text x=\"22\" y=\"{at}\" class=\"{class}\">{}</text>\n", escaped(text)));
            at += 15;
        }
        y += height;
        if nth + 1 == steps.len() {
            break;
        }
        let rules: Vec<String> = step.rules.iter().flat_map(|r| broken(r, 42)).collect();
        let gap = 22 + 13 * rules.len() as u64;
        body.push_str(&format!(
            "<path d=\"M30 {y}V{0}\" class=\"axis\"/><path d=\"M25 {1}L30 {0}L35 {1}\" class=\"axis\"/>\n",
            y + gap,
            y + gap - 8
        ));
        for (nth, rule) in rules.iter().enumerate() {
            let at = y + 17 + 13 * nth as u64;
            body.push_str(&format!("<text x=\"42\" y=\"{at}\" class=\"rule\">{}</text>\n", escaped(rule)));
        }
        y += gap;
    }
    format!(
        "<svg class=\"round\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" data-times=\"{}\"><title>{}</title>\n\
         <text x=\"14\" y=\"16\" class=\"head\">{}</text>\n{body}</svg>\n",
        y + 10,
        found.times,
        escaped(&format!("What goes around: {label}")),
        escaped(&label)
    )
}

/// The chain of an answer, cause first.
fn steps(answer: &Answer) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (nth, step) in answer.chain.iter().enumerate().rev() {
        // The directive of a step is the way from its cause, the box before, to itself.
        let rules = step.rule.iter().chain(&step.other_rules).map(super::super::answer::rule);
        if let Some(before) = steps.last_mut() {
            before.rules.extend(rules);
        }
        let unit = step.unit.as_deref().unwrap_or("hence").to_owned();
        let word = match nth {
            0 if answer.up_again.is_some() => format!("{} and starting again", step.kind),
            _ => step.kind.clone(),
        };
        steps.push(Step { unit, lines: vec![word], rules: Vec::new() });
    }
    steps
}

/// Text in lines of at most so many letters; longer words are cut.
fn broken(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split_inclusive([' ', '/', ',']) {
        let mut letters: Vec<char> = word.chars().collect();
        while !letters.is_empty() {
            let line = lines.last_mut().expect("there is always one line");
            let used = line.chars().count();
            let room = width.saturating_sub(used);
            if letters.len() <= room || used == 0 {
                let part: Vec<char> = letters.drain(..letters.len().min(width)).collect();
                line.extend(part);
                if letters.is_empty() {
                    break;
                }
            }
            lines.push(String::new());
        }
    }
    lines.into_iter().map(|l| l.trim_end().to_owned()).filter(|l| !l.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken() {
        assert_eq!(
            broken("Requires=b.service, /etc/units/a.service:3", 20),
            ["Requires=b.service,", "/etc/units/", "a.service:3"]
        );
        assert_eq!(broken(&"x".repeat(25), 10), ["x".repeat(10), "x".repeat(10), "x".repeat(5)]);
    }
}
