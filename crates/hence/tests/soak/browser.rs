//! The page in a browser without a screen, where one is there.

use super::Folder;
use super::browsing::{self, Found};

const NOTES: &str = "const json = JSON.parse(d.getElementById('soak').textContent);
  const curve = d.querySelector('svg.curve[data-unit=\"x.service\"][data-measure=memory]');
  r.push('json:' + json.units['x.service'].measures.memory.last);
  r.push('picture:' + curve.dataset.last);
  const colours = new Set([...d.querySelectorAll('svg *')].map(e => w.getComputedStyle(e).stroke));
  colours.delete('none');
  r.push('colours:' + colours.size);
  const line = curve.querySelector('polyline').getAttribute('points').trim().split(' ');
  const y = line.map(p => +p.split(',')[1]);
  r.push('rises:' + (y[y.length - 1] < y[0] - 20));
  r.push('kinds:' + [...d.querySelectorAll('ol li')].map(l => l.dataset.kind).join(','));
  r.push('verdict:' + json.findings.map(f => f.kind).join(','));";

#[test]
fn the_page_is_whole_and_fits_a_phone() {
    let leak = "[Service]\nExecStart=/usr/bin/perl -e 'my @a; while (1) { push @a, \"x\" x 60000; \
                select undef, undef, undef, 0.05 }'\nKillMode=process\n";
    let folder = Folder::of("page", &[("x.service", leak)]);
    let page = folder.0.join("page.html");
    let file = page.to_str().unwrap().to_owned();
    let output = folder.soak(&["--for", "10s", "--no-faults", "--html", &file]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    let text = std::fs::read_to_string(&page).unwrap();
    for word in ["http:", "https:", "src=", "@import", "url("] {
        assert!(!text.contains(word), "the page has {word}");
    }
    let Some(browser) = browsing::installed() else {
        return eprintln!("skipped: no Chromium is installed, the page was not opened");
    };
    let found = Found::of(browser, &folder.0, &page, NOTES);
    found.fits();
    assert_eq!((found.value("json"), found.value("kinds")), (found.value("picture"), found.value("verdict")));
    assert!(found.value("kinds").split(',').any(|k| k == "memory"), "{}", found.value("kinds"));
    assert_eq!((found.value("rises"), found.value("colours")), ("true", "1"));
}
