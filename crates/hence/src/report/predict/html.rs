//! The page of a prediction: one file that loads nothing from elsewhere and runs no script. It can be read
//! without colour and on a phone; the JSON of the same prediction is in it, for programs.

use super::fold::{Entry, SHOWN, folded, headline, later, moment, number};
use super::picture::{curve, round};
use super::{Asked, UNITS, grants, json};
use crate::report::html::{self, escaped};
use hence_engine::predict::{Prediction, limit_text};

/// The page.
pub fn page(prediction: &Prediction, asked: &Asked<'_>) -> String {
    let head = headline(prediction, asked);
    let mut page = html::head("hence predict", &head, !prediction.troubles.is_empty());
    pictures(&mut page, prediction);
    limits(&mut page, prediction);
    timeline(&mut page, prediction);
    units(&mut page, prediction);
    taken(&mut page, prediction);
    blast(&mut page, prediction);
    page.push_str("<h2>Taken for granted</h2>\n<ul>\n");
    for line in grants(prediction, asked) {
        page.push_str(&format!("<li>{}</li>\n", escaped(&line)));
    }
    page.push_str("</ul>\n");
    page.push_str(&html::foot("prediction", &json::of(prediction, asked).to_string()));
    page
}

fn pictures(page: &mut String, prediction: &Prediction) {
    for (name, unit) in prediction.units.iter().filter(|(_, u)| u.left_behind > 0).take(6) {
        page.push_str(&curve(name, unit, prediction));
    }
    let rounds: Vec<String> = prediction.loops.iter().take(4).map(round).filter(|r| !r.is_empty()).collect();
    if !rounds.is_empty() {
        page.push_str("<h2>What goes around</h2>\n");
        rounds.iter().for_each(|round| page.push_str(round));
    }
    let mut advice: Vec<&str> = Vec::new();
    for one in prediction.loops.iter().filter_map(|l| l.why.as_ref()).flat_map(|a| &a.advice) {
        if !advice.contains(&one.text.as_str()) {
            advice.push(&one.text);
        }
    }
    if !advice.is_empty() {
        page.push_str("<h2>What to do</h2>\n<ol>\n");
        for text in advice.iter().take(6) {
            page.push_str(&format!("<li>{}</li>\n", escaped(text)));
        }
        page.push_str("</ol>\n");
    }
}

fn limits(page: &mut String, prediction: &Prediction) {
    let later = later(prediction);
    if prediction.limits.is_empty() && later.is_empty() {
        return;
    }
    page.push_str("<h2>Limits</h2>\n<ul>\n");
    for cap in &prediction.limits {
        let at = moment(cap.reached_us.unwrap_or_default());
        page.push_str(&format!("<li><strong>After {at}: {}</strong></li>\n", escaped(&limit_text(cap))));
    }
    for (cap, at_us) in later {
        let text = escaped(&limit_text(cap));
        page.push_str(&format!("<li>At this rate after {}: {text}</li>\n", moment(at_us)));
    }
    page.push_str("</ul>\n");
}

fn timeline(page: &mut String, prediction: &Prediction) {
    let entries = folded(prediction);
    if entries.is_empty() {
        return;
    }
    page.push_str("<h2>Timeline</h2>\n<table>\n<tr><th>at<th>what\n");
    for entry in entries.iter().take(SHOWN) {
        row(page, entry);
    }
    page.push_str("</table>\n");
    if entries.len() > SHOWN {
        page.push_str(&format!("<p>and {} more entries</p>\n", entries.len() - SHOWN));
    }
}

fn row(page: &mut String, entry: &Entry<'_>) {
    let rhythm = entry.rhythm();
    let rhythm = match rhythm.is_empty() {
        true => String::new(),
        false => format!(" <strong>({})</strong>", escaped(&rhythm)),
    };
    page.push_str(&format!(
        "<tr><td class=\"t\">{}<td>{}{rhythm}\n",
        moment(entry.at_us),
        escaped(&entry.text())
    ));
}

fn units(page: &mut String, prediction: &Prediction) {
    let busy: Vec<_> =
        prediction.units.iter().filter(|(_, u)| u.counts.starts > 0 || u.left_behind > 0).collect();
    if busy.is_empty() {
        return;
    }
    page.push_str(
        "<h2>Units</h2>\n<div class=\"wide\"><table id=\"units\">\n<tr><th>unit<th class=\"n\">starts\
         <th class=\"n\">restarts<th class=\"n\">left behind<th>at the end\n",
    );
    for (name, unit) in busy.iter().take(UNITS) {
        page.push_str(&format!(
            "<tr data-unit=\"{0}\"><td>{0}<td class=\"n\">{1}<td class=\"n\">{2}<td class=\"n\">{3}<td>{4}\n",
            escaped(name),
            number(unit.counts.starts),
            number(unit.counts.restarts),
            number(unit.left_behind),
            unit.final_state.0
        ));
    }
    page.push_str("</table></div>\n");
    if busy.len() > UNITS {
        page.push_str(&format!("<p>and {} more</p>\n", busy.len() - UNITS));
    }
}

fn taken(page: &mut String, prediction: &Prediction) {
    if prediction.takes_down.is_empty() {
        return;
    }
    page.push_str("<h2>What goes down because of others</h2>\n<ul>\n");
    for one in prediction.takes_down.iter().take(SHOWN) {
        let end = if one.comes_back { "comes up again" } else { "stays down" };
        let why = one.why.as_ref().and_then(super::because).map(|w| format!(" ({w})")).unwrap_or_default();
        page.push_str(&format!(
            "<li data-taken=\"{0}\">{0} after {1}, {end}{2}</li>\n",
            escaped(&one.unit),
            moment(one.at_us),
            escaped(&why)
        ));
    }
    page.push_str("</ul>\n");
}

fn blast(page: &mut String, prediction: &Prediction) {
    let Some(rows) = &prediction.blast else { return };
    page.push_str(
        "<h2>What each unit takes along</h2>\n<div class=\"wide\"><table id=\"blast\">\n\
         <tr><th>unit<th>stopped<th>restarted<th>killed\n",
    );
    let list = |names: &[hence_ledger::Text]| match names {
        [] => "nothing".to_owned(),
        names => escaped(&names.iter().map(|n| &**n).collect::<Vec<_>>().join(", ")),
    };
    for row in rows {
        let killed = row.failure.as_deref().map_or(String::new(), |names| {
            format!("{}{}", list(names), if row.recovers { "" } else { "; it stays down" })
        });
        page.push_str(&format!(
            "<tr><td>{}<td>{}<td>{}<td>{killed}\n",
            escaped(&row.unit),
            list(&row.stop),
            list(&row.restart)
        ));
    }
    page.push_str("</table></div>\n");
}
