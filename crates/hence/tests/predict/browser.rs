//! The page in a browser without a screen, where one is there.

use super::{Folder, incident, json, predict};
use std::path::Path;
use std::process::Command;

/// A browser of the Chromium family.
fn browser() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
    let folders = std::env::var_os("PATH")?;
    let there = |name: &&str| std::env::split_paths(&folders).any(|f| f.join(name).is_file());
    names.into_iter().find(there)
}

/// The document as the browser has it, and what it said on stderr.
fn open(browser: &str, folder: &Path, page: &Path, width: u32) -> (String, String) {
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .args(["--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000", "--dump-dom"])
        .arg(format!("--window-size={width},900"))
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("file://{}", page.display()))
        .env("HOME", folder)
        .output()
        .expect("the browser can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// A page that holds the tested one in a frame of 390 px and notes what can't be seen there: what is wider
/// than the screen, and letters that are too small to read.
const MEASURE: &str = "<!DOCTYPE html><meta charset=utf-8><body><script>
const f = document.createElement('iframe');
f.style.width = '390px'; f.style.height = '900px'; f.style.border = '0';
f.srcdoc = PAGE;
f.onload = () => {
  const d = f.contentDocument, w = f.contentWindow, r = [];
  r.push('wide:' + (d.documentElement.scrollWidth > 390));
  r.push('scripts:' + [...d.scripts].filter(s => s.type !== 'application/json').length);
  let least = 99;
  for (const t of d.querySelectorAll('svg text')) {
    const box = t.getBoundingClientRect();
    const m = t.getScreenCTM();
    least = Math.min(least, parseFloat(w.getComputedStyle(t).fontSize) * m.a);
    if (box.left < 0 || box.right > 390.5) r.push('outside:' + t.textContent);
  }
  r.push('least:' + least.toFixed(1));
  r.push('json:' + JSON.parse(d.getElementById('prediction').textContent).units['foo.service'].left_behind);
  r.push('picture:' + d.querySelector('svg.curve[data-unit=\"foo.service\"]').dataset.leftBehind);
  r.push('times:' + d.querySelector('svg.round').dataset.times);
  const line = d.querySelector('svg.curve polyline').getAttribute('points').trim().split(' ');
  const y = p => parseFloat(p.split(',')[1]);
  r.push('rises:' + line.slice(1).every((p, i) => y(p) <= y(line[i])));
  document.title = 'done';
  const out = document.createElement('pre'); out.id = 'found'; out.textContent = r.join('\\n');
  document.body.replaceChildren(out);
};
document.body.append(f);
</script>";

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
    let Some(browser) = browser() else {
        eprintln!("skipped: no Chromium is installed, the page was not opened");
        return;
    };
    let (document, said) = open(browser, &folder.0, &page, 800);
    assert!(document.contains("id=\"answer\""), "{document}{said}");
    let complaints: Vec<&str> = said.lines().filter(|l| l.contains("CONSOLE")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    let quoted = serde_json::to_string(&text).unwrap().replace("</", "<\\/").replace("<!--", "<\\u0021--");
    let frame = folder.0.join("frame.html");
    std::fs::write(&frame, MEASURE.replace("PAGE", &quoted)).unwrap();
    let (document, said) = open(browser, &folder.0, &frame, 800);
    let found = document.split("<pre id=\"found\">").nth(1).and_then(|rest| rest.split("</pre>").next());
    let found = found.unwrap_or_else(|| panic!("nothing was measured: {document}\n{said}"));
    let value = |key: &str| {
        let line = found.lines().find_map(|l| l.strip_prefix(&format!("{key}:")));
        line.unwrap_or_else(|| panic!("no {key} in {found}")).to_owned()
    };
    let left = answer["units"]["foo.service"]["left_behind"].to_string();
    assert_eq!((value("wide").as_str(), value("scripts").as_str()), ("false", "0"), "{found}");
    assert_eq!((value("json"), value("picture")), (left.clone(), left), "{found}");
    assert_eq!(value("times"), answer["loops"][0]["times"].to_string());
    assert_eq!(value("rises"), "true");
    assert!(value("least").parse::<f64>().unwrap() >= 10.0, "{found}");
    assert!(!found.contains("outside:"), "{found}");
}
