//! The listing of directives as a table or JSON.

use super::page::Page;
use super::style::Style;
use hence_ledger::json::Json;
use hence_ledger::speech::count;
use hence_unit::directive::{Entry, Support};

fn since(entry: &Entry) -> String {
    if entry.since == 0 { String::from("-") } else { entry.since.to_string() }
}

/// The table, and how many there are of each kind.
pub fn page(rows: &[Entry]) -> String {
    let mut page = Page::here();
    if rows.is_empty() {
        page.paragraph("", "", &[(Style::Plain, "No directive is like that.")]);
        return page.finish();
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let support = row.support.as_str().into();
            vec![format!("[{}]", row.section), format!("{}=", row.name), support, since(row), row.page.into()]
        })
        .collect();
    page.table(&["SECTION", "DIRECTIVE", "SUPPORT", "SINCE", "MAN PAGE"], &[3], &cells);
    let of = |wanted: &str| rows.iter().filter(|row| row.support.as_str() == wanted).count();
    let sum = format!(
        "{}: {} acted on, {} accepted without effect on purpose, {} not yet acted on.",
        count(rows.len() as u64, "directive", "directives"),
        of(Support::Acted.as_str()),
        of(Support::Accepted("").as_str()),
        of(Support::NotYet.as_str()),
    );
    page.gap();
    page.paragraph("", "", &[(Style::Strong, &sum)]);
    page.finish()
}

/// The same as JSON: a list of `section`, `directive`, `support`, `why`, `since`, `page`, `doc` and
/// `replaced_by`.
pub fn json(rows: &[Entry]) -> Json {
    let text = |value: &str| Json::Text(value.into());
    let or_null = |value: Option<&str>| value.map_or(Json::Null, text);
    Json::List(
        rows.iter()
            .map(|row| {
                let why = if let Support::Accepted(why) = row.support { Some(why) } else { None };
                Json::Object(vec![
                    ("section", text(row.section)),
                    ("directive", text(row.name)),
                    ("support", text(row.support.as_str())),
                    ("why", or_null(why)),
                    ("since", if row.since == 0 { Json::Null } else { Json::Number(row.since.into()) }),
                    ("page", text(row.page)),
                    ("doc", text(row.doc)),
                    ("replaced_by", or_null(row.replaced_by)),
                ])
            })
            .collect(),
    )
}
