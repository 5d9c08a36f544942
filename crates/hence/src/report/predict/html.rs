//! The page of a prediction: one file that loads nothing from elsewhere and runs no script. It can be read
//! without colour and on a phone; the JSON of the same prediction is in it, for programs.

use super::fold::{Entry, SHOWN, folded, headline, later, moment, number};
use super::picture::{curve, escaped, round};
use super::{Asked, UNITS, grants, json};
use hence_engine::predict::{Prediction, limit_text};

const STYLE: &str = "\
:root{color-scheme:light dark}
*{box-sizing:border-box}
body{font:16px/1.45 system-ui,sans-serif;margin:0 auto;padding:12px;max-width:46rem;overflow-wrap:anywhere}
h1{font-size:1.25rem;line-height:1.3}
h2{font-size:1.05rem;margin:1.6em 0 .4em;border-bottom:1px solid currentColor}
.bad{border-left:5px solid currentColor;padding-left:10px}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;padding:3px 8px 3px 0;border-bottom:1px solid #8886;vertical-align:top}
td.n,th.n{text-align:right}
th,td.n,td.t{white-space:nowrap}
td.t{padding-right:14px}
svg{display:block;width:100%;max-width:30rem;height:auto;margin:.6em 0}
svg text{font:12px system-ui,sans-serif;fill:currentColor}
svg text.head{font-weight:bold}
svg text.rule{font-size:10.5px}
svg text.end{text-anchor:end}
svg text.middle{text-anchor:middle}
svg .axis,svg rect{fill:none;stroke:currentColor;stroke-width:1.2}
svg .line{fill:none;stroke:currentColor;stroke-width:2.5}
svg .limit{fill:none;stroke:currentColor;stroke-width:1.5;stroke-dasharray:6 4}
svg circle{fill:currentColor}
ul{padding-left:1.2em}
@media print{body{max-width:none}}
";

/// The page.
pub fn page(prediction: &Prediction, asked: &Asked<'_>) -> String {
    let head = headline(prediction, asked);
    let bad = if prediction.troubles.is_empty() { "" } else { " class=\"bad\"" };
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>hence predict</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1{bad} id=\"answer\">{}</h1>\n",
        escaped(&head)
    );
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
    // In JSON a < can only stand in a string, where it may be written so.
    let json = json::of(prediction, asked).to_string().replace('<', "\\u003c");
    page.push_str(&format!("<script type=\"application/json\" id=\"prediction\">\n{json}\n</script>\n"));
    page.push_str("</body>\n</html>\n");
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
