//! The JSON of a prediction: an interface; fields may come and none may go.

use super::fold::{folded, headline, later, limit_word};
use super::{Asked, grants};
use hence_engine::predict::blast::Reach;
use hence_engine::predict::tally::{Moment, MomentKind};
use hence_engine::predict::{LoopForecast, Prediction, Taken, UnitForecast, limit_text};
use hence_engine::sim::caps::Cap;
use hence_ledger::Text;
use hence_ledger::answer::Answer;
use hence_ledger::json::Json;

fn text(value: impl ToString) -> Json {
    Json::Text(value.to_string())
}

fn seconds(us: Option<u64>) -> Json {
    us.map_or(Json::Null, Json::Seconds)
}

fn names(names: &[Text]) -> Json {
    Json::List(names.iter().map(text).collect())
}

/// The whole of it.
pub fn of(prediction: &Prediction, asked: &Asked<'_>) -> Json {
    let bad = !prediction.troubles.is_empty();
    let troubles = prediction.troubles.iter().map(|t| {
        Json::Object(vec![
            ("kind", text(t.kind)),
            ("unit", t.unit.as_ref().map_or(Json::Null, text)),
            ("text", text(&t.text)),
        ])
    });
    let timeline = folded(prediction);
    let timeline = timeline.iter().map(|entry| {
        let units: Vec<Text> = entry.lines.iter().map(|l| l.unit.clone()).filter(|u| !u.is_empty()).collect();
        Json::Object(vec![
            ("at_s", Json::Seconds(entry.at_us)),
            ("last_s", Json::Seconds(entry.last_us)),
            ("times", Json::Number(entry.times)),
            ("period_s", seconds(entry.period_us)),
            ("units", names(&units)),
            ("what", text(entry.text())),
        ])
    });
    let units = prediction.units.iter().map(|(name, u)| (name.to_string(), unit(u)));
    let taken: Vec<Text> = prediction.takes_down.iter().map(|t| t.unit.clone()).collect();
    let later = later(prediction);
    let lines = grants(prediction, asked);
    Json::Object(vec![
        ("answer", text(headline(prediction, asked))),
        ("verdict", text(if bad { "trouble" } else { "fine" })),
        ("for_s", Json::Seconds(prediction.for_us)),
        ("complete", Json::Bool(prediction.complete)),
        ("units", Json::Map(units.collect())),
        ("limits", Json::List(prediction.limits.iter().map(|c| limit(c, c.reached_us)).collect())),
        ("limits_later", Json::List(later.iter().map(|(c, at)| limit(c, Some(*at))).collect())),
        ("takes_down", names(&taken)),
        ("taken_down", Json::List(prediction.takes_down.iter().map(taken_down).collect())),
        ("loops", Json::List(prediction.loops.iter().map(one_loop).collect())),
        ("troubles", Json::List(troubles.collect())),
        ("timeline", Json::List(timeline.collect())),
        (
            "blast",
            prediction.blast.as_ref().map_or(Json::Null, |b| Json::List(b.iter().map(reach).collect())),
        ),
        ("events", Json::List(prediction.events.iter().map(event).collect())),
        ("processes_peak", Json::Number(prediction.processes)),
        ("assumptions", Json::List(lines.iter().map(text).collect())),
    ])
}

fn unit(unit: &UnitForecast) -> Json {
    let (active, sub, result) = unit.final_state;
    Json::Object(vec![
        ("starts", Json::Number(unit.counts.starts)),
        ("restarts", Json::Number(unit.counts.restarts)),
        ("automatic_restarts", Json::Number(unit.counts.automatic)),
        ("n_restarts", Json::Number(unit.n_restarts.into())),
        ("period_s", seconds(unit.counts.period_us())),
        ("growth", Json::List(unit.counts.marks.iter().map(mark).collect())),
        ("left_behind", Json::Number(unit.left_behind)),
        ("processes", Json::Number(unit.processes)),
        ("left_behind_peak", Json::Number(unit.counts.left_peak.max(unit.left_behind))),
        ("final_state", text(active)),
        ("final_sub_state", text(sub)),
        ("result", text(result)),
    ])
}

fn mark(&(at_us, restarts, left): &(u64, u64, u64)) -> Json {
    Json::Object(vec![
        ("at_s", Json::Seconds(at_us)),
        ("restarts", Json::Number(restarts)),
        ("left_behind", Json::Number(left)),
    ])
}

fn event(moment: &Moment) -> Json {
    let what = match moment.kind {
        MomentKind::Starts => "starts",
        MomentKind::IsStopped => "is stopped",
        MomentKind::IsKilled => "is killed",
        MomentKind::Ends => "ends",
    };
    Json::Object(vec![
        ("at_s", Json::Seconds(moment.at_us)),
        ("unit", text(&moment.unit)),
        ("what", text(what)),
    ])
}

fn limit(cap: &Cap, at_us: Option<u64>) -> Json {
    Json::Object(vec![
        ("what", text(limit_word(cap))),
        ("unit", cap.unit.as_ref().map_or(Json::Null, text)),
        ("at_s", seconds(at_us)),
        ("processes", Json::Number(cap.most)),
        ("refused", Json::Number(cap.refused)),
        ("text", text(limit_text(cap))),
    ])
}

fn taken_down(taken: &Taken) -> Json {
    Json::Object(vec![
        ("unit", text(&taken.unit)),
        ("at_s", Json::Seconds(taken.at_us)),
        ("comes_back", Json::Bool(taken.comes_back)),
        ("chain", taken.why.as_ref().map_or(Json::List(Vec::new()), chain)),
    ])
}

fn one_loop(found: &LoopForecast) -> Json {
    Json::Object(vec![
        ("units", names(&found.units)),
        ("times", Json::Number(found.times)),
        ("period_s", seconds(found.period_us)),
        ("since_s", Json::Seconds(found.since_us)),
        ("last_s", Json::Seconds(found.last_us)),
        ("ongoing", Json::Bool(found.ongoing)),
        ("chain", found.why.as_ref().map_or(Json::List(Vec::new()), chain)),
        (
            "advice",
            Json::List(found.why.iter().flat_map(|a| &a.advice).map(|advice| text(&advice.text)).collect()),
        ),
    ])
}

fn chain(answer: &Answer) -> Json {
    let step = |step: &hence_ledger::path::Step| {
        let rule = step.rule.as_ref().map_or(Json::Null, |rule| {
            Json::Object(vec![
                ("directive", text(&rule.directive)),
                ("file", rule.file.as_ref().map_or(Json::Null, text)),
                ("line", if rule.line == 0 { Json::Null } else { Json::Number(rule.line.into()) }),
            ])
        });
        Json::Object(vec![
            ("unit", step.unit.as_ref().map_or(Json::Null, text)),
            ("what", text(&step.kind)),
            ("rule", rule),
        ])
    };
    Json::List(answer.chain.iter().map(step).collect())
}

fn reach(row: &Reach) -> Json {
    Json::Object(vec![
        ("unit", text(&row.unit)),
        ("stop", names(&row.stop)),
        ("restart", names(&row.restart)),
        ("killed", row.failure.as_deref().map_or(Json::Null, names)),
        ("recovers", row.failure.as_ref().map_or(Json::Null, |_| Json::Bool(row.recovers))),
    ])
}
