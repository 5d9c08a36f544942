//! The page in a browser without a screen, where one is there.

use super::browsing::{self, Found};
use super::{Folder, incident, json, predict};

const NOTES: &str = "const json = JSON.parse(d.getElementById('prediction').textContent);
  r.push('json:' + json.units['foo.service'].left_behind);
  r.push('picture:' + d.querySelector('svg.curve[data-unit=\"foo.service\"]').dataset.leftBehind);
  r.push('times:' + d.querySelector('svg.round').dataset.times);
  const line = d.querySelector('svg.curve polyline').getAttribute('points').trim().split(' ');
  const y = p => parseFloat(p.split(',')[1]);
  r.push('rises:' + line.slice(1).every((p, i) => y(p) <= y(line[i])));";

#[test]
fn the_page_is_whole_and_fits_a_phone() {
    let folder = Folder::new("browser");
    let page = folder.0.join("page.html");
    let file = page.to_str().unwrap().to_owned();
    let incident = incident();
    let arguments = [
        incident.as_str(),
        "--if",
        "aws-otel-collector.service exits 1",
        "--for",
        "30h",
        "--machine-pids",
        "124680",
    ];
    let output = predict(&[&arguments[..], &["--html", &file]].concat());
    assert_eq!(output.status.code(), Some(1));
    let (answer, _) = json(&arguments);
    let text = std::fs::read_to_string(&page).unwrap();
    // Nothing is loaded from elsewhere.
    for word in ["http:", "https:", "src=", "@import", "url("] {
        assert!(!text.contains(word), "the page has {word}");
    }
    assert_eq!(text.matches("<script").count(), text.matches("<script type=\"application/json\"").count());
    let Some(browser) = browsing::installed() else {
        return eprintln!("skipped: no Chromium is installed, the page was not opened");
    };
    let found = Found::of(browser, &folder.0, &page, NOTES);
    found.fits();
    let left = answer["units"]["foo.service"]["left_behind"].to_string();
    assert_eq!((found.value("json"), found.value("picture")), (left.as_str(), left.as_str()));
    assert_eq!(found.value("times"), answer["loops"][0]["times"].to_string());
    assert_eq!(found.value("rises"), "true");
}
