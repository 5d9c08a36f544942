//! The page in a browser without a screen, where one is there.

use super::Folder;
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
fn open(browser: &str, folder: &Path, page: &Path) -> (String, String) {
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .args(["--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000", "--dump-dom"])
        .arg("--window-size=800,900")
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("file://{}", page.display()))
        .env("HOME", folder)
        .output()
        .expect("the browser can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// A page that holds the tested one in a frame of 390 px and notes what can't be seen there.
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
    least = Math.min(least, parseFloat(w.getComputedStyle(t).fontSize) * t.getScreenCTM().a);
    if (box.left < 0 || box.right > 390.5) r.push('outside:' + t.textContent);
  }
  r.push('least:' + least.toFixed(1));
  const json = JSON.parse(d.getElementById('soak').textContent);
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
  r.push('verdict:' + json.findings.map(f => f.kind).join(','));
  const out = document.createElement('pre'); out.id = 'found'; out.textContent = r.join('\\n');
  document.body.replaceChildren(out);
};
document.body.append(f);
</script>";

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
    let Some(browser) = browser() else {
        return eprintln!("skipped: no Chromium is installed, the page was not opened");
    };
    let (document, said) = open(browser, &folder.0, &page);
    assert!(document.contains("id=\"answer\""), "{document}{said}");
    let complaints: Vec<&str> = said.lines().filter(|l| l.contains("CONSOLE")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    let quoted = serde_json::to_string(&text).unwrap().replace("</", "<\\/").replace("<!--", "<\\u0021--");
    let frame = folder.0.join("frame.html");
    std::fs::write(&frame, MEASURE.replace("PAGE", &quoted)).unwrap();
    let (document, said) = open(browser, &folder.0, &frame);
    let found = document.split("<pre id=\"found\">").nth(1).and_then(|rest| rest.split("</pre>").next());
    let found = found.unwrap_or_else(|| panic!("nothing was measured: {document}\n{said}"));
    let value = |key: &str| {
        let line = found.lines().find_map(|l| l.strip_prefix(&format!("{key}:")));
        line.unwrap_or_else(|| panic!("no {key} in {found}")).to_owned()
    };
    assert_eq!((value("wide").as_str(), value("scripts").as_str()), ("false", "0"), "{found}");
    assert_eq!((value("json"), value("kinds")), (value("picture"), value("verdict")), "{found}");
    assert!(value("kinds").split(',').any(|k| k == "memory"), "{found}");
    assert_eq!((value("rises").as_str(), value("colours").as_str()), ("true", "1"), "{found}");
    assert!(value("least").parse::<f64>().unwrap() >= 10.0, "{found}");
    assert!(!found.contains("outside:"), "{found}");
}
